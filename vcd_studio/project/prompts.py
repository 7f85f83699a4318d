"""The prompt list of a project: ``prompts.toml`` or a plain ``prompts.txt`` with the flags other trainers use."""

from __future__ import annotations

import dataclasses
import itertools
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vcd_studio.project.errors import InputError, Problem, ProjectError
from vcd_studio.project.expansion import LIMIT, expand
from vcd_studio.project.paths import write_atomic
from vcd_studio.project.settings import GenerationSettings
from vcd_studio.project.text import plain, quoted
from vcd_studio.project.toml_file import edit_toml, examine_toml, key_lines, line_of, nearest, read_text

if TYPE_CHECKING:
    from vcd_studio.project.identity import Identity
    from vcd_studio.project.project import Project

__all__ = ["Prompt", "PromptList", "expand", "names_in", "read_travel", "resolve"]

_NAME = re.compile(r"<[^<>\s]+>|(?<!\w)V\*")
_TRAVEL = re.compile(r"(?:^|\s)(\d{1,5}):\s+")
_FLAG = re.compile(r"(?:^|\s)--([A-Za-z])(?=\s|$)")
FLAGS = {"n": "negative", "w": "width", "h": "height", "s": "steps", "d": "seeds", "l": "frames", "g": "guidance", "f": "name"}
NEW_TOML = """# One [[prompt]] for each clip you want. <name> stands for an identity; V* for the only one.
# {snow|rain} makes one clip of each. Any setting may stand beside the text: seeds = [1, 2], guidance = 6.5 …
"""


@dataclass(frozen=True)
class Prompt:
    """What a person wrote: one ``text``, or ``travel`` (frame → text); ``overrides`` of GenerationSettings; ``line`` in its file or 0."""

    text: str | None
    travel: dict[int, str] | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    line: int = 0
    name: str | None = None

    @property
    def written(self) -> str:
        """The template as one line: the text, or ``0: … 8: …``."""
        if self.travel is None:
            return self.text or ""
        return " ".join(f"{frame}: {text}" for frame, text in sorted(self.travel.items()))

    def settings(self, defaults: GenerationSettings) -> GenerationSettings:
        """The project's defaults with this prompt's overrides."""
        return defaults.with_overrides(self.overrides, where=f"The prompt {quoted(self.written, 40)}")

    def expanded(self, wildcard_dir: Path | None = None, *, limit: int = LIMIT) -> list[Prompt]:
        """One prompt for each expansion, travels in every combination of their texts."""
        if self.travel is None:
            return [dataclasses.replace(self, text=text) for text in expand(self.text or "", wildcard_dir, limit=limit)]
        choices = [expand(text, wildcard_dir, limit=limit) for text in self.travel.values()]
        made = list(itertools.islice(itertools.product(*choices), limit + 1))
        if len(made) > limit:
            raise InputError(f"The prompt {quoted(self.written)} stands for more than {limit} prompts; take some choices out or split it.")
        return [dataclasses.replace(self, travel=dict(zip(self.travel, texts, strict=True))) for texts in made]


def names_in(text: str) -> list[str]:
    """The identities a text names, each once, in order: ``["<rex>", "V*"]``."""
    return list(dict.fromkeys(_NAME.findall(text)))


def resolve(text: str, project: Project, identities: Sequence[Identity] | None = None) -> tuple[str, list[Identity]]:
    """``text`` with ``V*`` written as the only identity's token, and the identities it names; InputError for an unknown one.

    ``identities`` spares reading the project's again for each of many texts.
    """
    identities = project.identities() if identities is None else identities
    known = {identity.token: identity for identity in identities}
    listed = ", ".join(plain(token) for token in known) or "none yet; add one first"
    found: dict[str, Identity] = {}
    for name in names_in(text):
        if name == "V*":
            if len(identities) != 1:
                raise InputError(
                    f"V* in the prompt {quoted(text)} needs a project with exactly one identity, and "
                    f"{quoted(project.name)} has {len(identities)}; name one of them instead: {listed}."
                )
            found.setdefault(identities[0].token, identities[0])
        elif name in known:
            found.setdefault(name, known[name])
        else:
            raise InputError(f"The prompt {quoted(text)} names {quoted(name)}, which is no identity of this project; known are: {listed}.")
    if "V*" in names_in(text):
        token = identities[0].token
        text = re.sub(r"(?<!\w)V\*", lambda _: token, text)
    return text, list(found.values())


def read_travel(text: str) -> dict[int, str] | None:
    """``"0: a dog sleeping 8: a dog jumping"`` → ``{0: …, 8: …}``; None if it is no travel. InputError for frames out of order."""
    parts = _TRAVEL.split(text.strip())
    if parts[0].strip() or len(parts) < 3:
        return None
    if int(parts[1]) != 0:
        return None
    frames, texts = [int(part) for part in parts[1::2]], [part.strip() for part in parts[2::2]]
    return _checked_travel(dict(zip(frames, texts, strict=True)), frames)


def _checked_travel(travel: dict[int, str], frames: list[int]) -> dict[int, str]:
    if frames[0] != 0 or any(later <= earlier for earlier, later in itertools.pairwise(frames)):
        raise InputError("A travel's frames must begin at 0 and rise, as in 0: a dog sleeping 8: a dog jumping; reorder them.")
    if not all(text.strip() for text in travel.values()):
        raise InputError("A travel has a frame without text; write what the clip shows from that frame on.")
    return travel


def _travel_keys(value: Any) -> Any:
    """TOML keys are strings: frame numbers are read here, and the order checked."""
    if not isinstance(value, dict):
        if not isinstance(value, str) or not value.strip():
            raise ValueError("write the prompt as text, or as a travel { 0 = '…', 8 = '…' }")
        return value
    frames = []
    for key, text in value.items():
        if not re.fullmatch(r"\d{1,5}", str(key)):
            raise ValueError(f"a travel's keys are frame numbers, not {quoted(key)}; write {{ 0 = '…', 8 = '…' }}")
        if not isinstance(text, str):
            raise ValueError(f"the text of frame {key} must be in quotes")
        frames.append(int(key))
    order = sorted(frames)
    if not order:
        raise ValueError("a travel needs at least frame 0; write { 0 = '…' }")
    try:
        return _checked_travel({frame: value[str(frame)] for frame in order}, order)
    except (InputError, KeyError) as error:
        cause = str(error).rstrip(".") if isinstance(error, InputError) else "write frame numbers without leading zeros"
        raise ValueError(cause) from error


class _Entry(GenerationSettings):
    """One ``[[prompt]]``: a text and any generation setting."""

    text: Annotated[Any, BeforeValidator(_travel_keys)]
    name: Annotated[str, Field(strict=True, max_length=80)] | None = None

    @model_validator(mode="after")
    def _windows_move_on(self) -> Self:
        return self  # it depends on the project's defaults: Prompt.settings looks


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    prompt: tuple[_Entry, ...] = ()


class PromptList:
    """The prompts of one file, in its order. Each edit is on disk when its call returns, and a person's comments stay."""

    def __init__(self, path: Path, prompts: list[Prompt], text: str) -> None:
        self.path = path
        self.prompts = prompts
        self._text = text

    @classmethod
    def load(cls, path: Path) -> PromptList:
        """Read ``.toml`` or ``.txt``; a file that is not there is an empty list. ProjectError names the file and line of what is wrong."""
        if not path.exists() and not path.is_symlink():
            return cls(path, [], "")
        prompts, problems, text = _read(path)
        if problems:
            raise ProjectError(problems[0].message, problems[0].file, problems[0].line)
        return cls(path, prompts, text)

    @classmethod
    def problems(cls, path: Path) -> list[Problem]:
        """Everything that keeps the file from being read."""
        return _read(path)[1] if path.exists() else []

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    def __getitem__(self, index: int) -> Prompt:
        return self.prompts[index]

    def append(self, text: str, **overrides: Any) -> Prompt:
        """Add a prompt at the end; ``0: … 8: …`` is a travel, ``name=`` names its clips. InputError for a wrong setting."""
        return self._append([_made(text, overrides)])[-1]

    def extend(self, texts: Iterable[str]) -> int:
        """Add those of the texts that are not in the list yet, all or none; how many were added."""
        present = {prompt.written for prompt in self.prompts}
        added = [_made(text, {}) for text in dict.fromkeys(texts) if text not in present]
        if added:
            self._append(added)
        return len(added)

    def _append(self, added: list[Prompt]) -> list[Prompt]:
        if self.path.suffix == ".txt":
            before = self._text if not self._text or self._text.endswith("\n") else self._text + "\n"
            return self._write(before + "".join(f"{_line(prompt)}\n" for prompt in added))

        def change(document: Any) -> None:
            for prompt in added:
                _append_table(document, _table(prompt))

        return self._edit(change)

    def replace(self, index: int, text: str, **overrides: Any) -> Prompt:
        """Write another text into prompt ``index`` and change the settings given (None takes one out); its comments stay."""
        kept = {key: value for key, value in {**self.prompts[index].overrides, **overrides}.items() if value is not None}
        name = overrides.get("name", self.prompts[index].name)
        prompt = _made(text, {**{key: value for key, value in kept.items() if key != "name"}, **({"name": name} if name else {})})
        if self.path.suffix == ".txt":
            return self._write_lines(index, [_line(prompt)])[index]

        def change(document: Any) -> None:
            table = _prompt_tables(document)[index]
            for key, value in _table(prompt).items():
                if table.get(key) != value:
                    table[key] = value
            for key in [key for key in table if key not in ("text", "name", *prompt.overrides)]:
                del table[key]
            if not prompt.name:
                table.pop("name", None)

        return self._edit(change)[index]

    def remove(self, index: int) -> None:
        """Take prompt ``index`` out."""
        if self.path.suffix == ".txt":
            self._write_lines(index, [])
        else:
            self._edit(lambda document: _prompt_tables(document).pop(index))

    def save(self) -> None:
        """Make the file if it is not there yet. (Edits write themselves.)"""
        if not self.path.exists():
            self._write(NEW_TOML if self.path.suffix == ".toml" else "")

    def _write_lines(self, index: int, lines: list[str]) -> list[Prompt]:
        all_lines = self._text.split("\n")
        line = self.prompts[index].line
        all_lines[line - 1 : line] = lines
        return self._write("\n".join(all_lines))

    def _edit(self, change: Any) -> list[Prompt]:
        self._check_unchanged()
        if not self.path.exists():
            write_atomic(self.path, NEW_TOML.encode("utf-8"))
        edit_toml(self.path, _File, change)
        return self._again()

    def _write(self, text: str) -> list[Prompt]:
        self._check_unchanged()
        problems = _read_lines(self.path, text)[1] if self.path.suffix == ".txt" else []
        if problems:
            raise ProjectError(problems[0].message, self.path, problems[0].line)
        write_atomic(self.path, text.encode("utf-8"))
        return self._again()

    def _again(self) -> list[Prompt]:
        fresh = PromptList.load(self.path)
        self.prompts, self._text = fresh.prompts, fresh._text
        return self.prompts

    def _check_unchanged(self) -> None:
        now = read_text(self.path) if self.path.exists() else ""
        if now != self._text:
            raise ProjectError("this file was changed by someone else since it was opened; open it again, then edit.", self.path)


def _read(path: Path) -> tuple[list[Prompt], list[Problem], str]:
    try:
        text = read_text(path)
    except ProjectError as error:
        return [], [Problem(path, error.line, error.message)], ""
    if path.suffix == ".txt":
        prompts, problems = _read_lines(path, text)
        return prompts, problems, text
    file, problems = examine_toml(path, _File)
    if file is None:
        return [], problems, text
    lines = key_lines(text)
    prompts = []
    for index, entry in enumerate(file.prompt):
        overrides = {key: getattr(entry, key) for key in entry.model_fields_set - {"text", "name"}}
        travel = entry.text if isinstance(entry.text, dict) else None
        line = line_of(lines, ("prompt", index)) or 0
        prompts.append(Prompt(None if travel else entry.text, travel, overrides, line, entry.name))
    return prompts, [], text


def _read_lines(path: Path, text: str) -> tuple[list[Prompt], list[Problem]]:
    prompts, problems = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            prompts.append(dataclasses.replace(_parse_line(line), line=number))
        except InputError as error:
            problems.append(Problem(path, number, str(error)))
    return prompts, problems


def _parse_line(line: str) -> Prompt:
    """``text --n negative --s 30 --d 7``: the flags stand at the end, each with a value that runs to the next flag."""
    first, *pairs = _FLAG.split(line)
    overrides: dict[str, Any] = {}
    for flag, value in zip(pairs[::2], (value.strip() for value in pairs[1::2]), strict=True):
        if flag not in FLAGS:
            raise InputError(f"unknown flag --{plain(flag)}; {nearest(flag, list(FLAGS))}")
        if not value:
            raise InputError(f"the flag --{flag} has no value; write one after it or take the flag out.")
        overrides[FLAGS[flag]] = _flag_value(flag, value)
    return _made(first.strip(), overrides)


def _flag_value(flag: str, value: str) -> Any:
    if flag in "nf":
        return shlex.split(value)[0] if len(value) > 1 and value[0] == value[-1] == '"' and value.count('"') == 2 else value
    try:
        if flag == "g":
            return float(value)
        return tuple(int(part) for part in value.split(",")) if flag == "d" else int(value)
    except ValueError as error:
        kind = "a number" if flag == "g" else "whole numbers with commas" if flag == "d" else "a whole number"
        raise InputError(f"{quoted(value)} is not right for --{flag} ({FLAGS[flag]}): it must be {kind}.") from error


def _made(text: str, overrides: Mapping[str, Any]) -> Prompt:
    if not text.strip():
        raise InputError("the prompt has no text; write what the clip should show before the flags.")
    for written in (text, *(value for value in overrides.values() if isinstance(value, str))):
        if plain(written, lines=True) != written.replace("\t", "\u2409"):
            raise InputError(f"{quoted(written)} has control characters; type it again without them.")
    settings = {key: value for key, value in overrides.items() if key != "name"}
    entry = _Entry(text=text)
    checked = entry.with_overrides(settings)
    travel = read_travel(text)
    name = overrides.get("name")
    return Prompt(None if travel else text.strip(), travel, {key: getattr(checked, key) for key in settings}, 0, name)


def _line(prompt: Prompt) -> str:
    """The prompt as a line of prompts.txt; InputError for what a line cannot say."""
    if "\n" in prompt.written or _FLAG.search(prompt.written) or prompt.written.startswith("#"):
        raise InputError(
            "a prompt in prompts.txt is one line without a leading # and without --flags in its text; use prompts.toml for it."
        )
    letters = {name: letter for letter, name in FLAGS.items()}
    words = [prompt.written]
    for key, value in {**prompt.overrides, **({"name": prompt.name} if prompt.name else {})}.items():
        if key not in letters:
            raise InputError(f"prompts.txt has no flag for {quoted(key)}; use prompts.toml for it.")
        written = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        if "\n" in written or _FLAG.search(written) or not written.strip():
            raise InputError(f"{quoted(written)} cannot be written behind --{letters[key]} in prompts.txt; use prompts.toml for it.")
        words.append(f"--{letters[key]} {written}")
    return " ".join(words)


def _append_table(document: Any, table: Any) -> None:
    """Add a ``[[prompt]]`` with an empty line before it; to ``prompt = [{…}]``, which no ``[[prompt]]`` may follow, one more ``{…}``."""
    import tomlkit

    tables = _prompt_tables(document)
    if isinstance(tables, tomlkit.items.Array):
        inline = tomlkit.inline_table()
        inline.update(table)
        tables.append(inline)
        return
    table.trivia.indent = "\n"
    tables.append(table)


def _prompt_tables(document: Any) -> Any:
    import tomlkit

    if "prompt" not in document:
        document["prompt"] = tomlkit.aot()
    return document["prompt"]


def _table(prompt: Prompt) -> Any:
    """The prompt as a TOML table."""
    import tomlkit

    table = tomlkit.table()
    if prompt.travel is None:
        table["text"] = prompt.text
    else:
        travel = tomlkit.inline_table()
        travel.update({str(frame): text for frame, text in prompt.travel.items()})
        table["text"] = travel
    if prompt.name:
        table["name"] = prompt.name
    for key, value in prompt.overrides.items():
        if value is not None:
            table[key] = list(value) if isinstance(value, tuple) else value
    return table
