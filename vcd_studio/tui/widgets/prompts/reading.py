"""What the editor's text means: each prompt with its expansions, its count of clips, and what is wrong, with its line."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vcd_studio.project.errors import InputError, ProjectError

if TYPE_CHECKING:
    from vcd_studio.jobs.store import Store
    from vcd_studio.project.project import Project
    from vcd_studio.project.prompts import Prompt
    from vcd_studio.project.settings import GenerationSettings

_NAME = re.compile(r"<[^<>\s]+>|__[A-Za-z0-9][A-Za-z0-9_./-]*?__")
_BEGUN = re.compile(r"(?:<|__)[A-Za-z0-9_./-]*$")
MOST_SHOWN = 12  # expansions of one prompt that are listed; all are counted


@dataclass(frozen=True)
class ReadPrompt:
    """One prompt: what it expands to (the first of them), how many clips that makes with its seeds and their cost, or its problem.

    ``seconds`` is None until a clip like these was made.
    """

    prompt: "Prompt"
    expansions: tuple[str, ...] = ()
    count: int = 0
    clips: int = 0
    seconds: float | None = 0.0
    bytes: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Reading:
    """The whole text, and the tokens and wildcards it may name; `problem` with its line where it cannot be read at all."""

    prompts: tuple[ReadPrompt, ...] = ()
    problem: str = ""
    line: int | None = None
    names: tuple[str, ...] = ()


class Costs:
    """What clips cost, looked up in the queue's history once for each kind of clip."""

    def __init__(self, store: "Store | None", pack: str, stages: tuple[str, ...] | None) -> None:
        self._store, self._pack, self._stages = store, pack, stages
        self._known: dict[str, tuple[float | None, int]] = {}

    def of(self, settings: "GenerationSettings") -> tuple[float | None, int]:
        """Seconds and bytes of one clip."""
        from vcd_studio.jobs.estimates import clip_bytes, clip_seconds, pack_size

        stages, generation = [*(self._stages or settings.stages), "save"], settings.model_dump(mode="json")
        key = repr((stages, generation["steps"], generation["frames"], generation["width"], generation["height"]))
        if key not in self._known:
            size = pack_size(self._pack)
            seconds = clip_seconds(self._store, stages, self._pack, generation, size) if self._store is not None else None
            self._known[key] = seconds, clip_bytes(stages, generation, size)
        return self._known[key]


def read_prompts(
    project: "Project",
    text: str,
    name: str,
    seeds: tuple[int, ...],
    stages: tuple[str, ...] | None = None,
    store: "Store | None" = None,
) -> Reading:
    """Read `text` as the project's file `name` (prompts.toml or prompts.txt); `store` knows what clips cost. Call it on a thread."""
    from vcd_studio.project.prompts import PromptList

    costs, names = Costs(store, project.pack, stages), known_names(project)
    with tempfile.TemporaryDirectory(prefix="vcd-studio-") as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        try:
            prompts = PromptList.load(path).prompts
        except ProjectError as error:
            return Reading(problem=error.message, line=error.line, names=names)
    return Reading(tuple(_read(project, prompt, seeds, costs) for prompt in prompts), names=names)


def known_names(project: "Project") -> tuple[str, ...]:
    """What prompts of this project may name: `<rex>`, `__place__`. Nothing where the project cannot be read: its screen says so."""
    from vcd_studio.project.expansion import wildcard_names

    try:
        tokens = [identity.token for identity in project.identities()]
        return (*tokens, *(f"__{name}__" for name in wildcard_names(project.wildcard_dir)))
    except (InputError, OSError):
        return ()


def unknown_names(line: str, known: tuple[str, ...]) -> list[tuple[int, int]]:
    """Where in a line stand names that are none of the known ones: (from, to) in characters. A comment names nothing."""
    code = line if not line.lstrip().startswith("#") else ""
    return [found.span() for found in _NAME.finditer(code) if found[0] not in known]


def completion(before: str, known: tuple[str, ...]) -> str:
    """The rest of the name that `before`, the line up to the cursor, has begun; empty where it has begun none."""
    begun = _BEGUN.search(before)
    if begun is None:
        return ""
    return next((name[len(begun[0]) :] for name in known if name.startswith(begun[0]) and name != begun[0]), "")


def read_new_prompt(project: "Project", text: str, seeds: str) -> ReadPrompt:
    """A prompt as it would be added to the project's list, without adding it. InputError where no list could hold it."""
    from vcd_studio.project.prompts import PromptList

    if not text:
        raise InputError("Write what the clip should show.")
    with tempfile.TemporaryDirectory(prefix="vcd-studio-") as folder:
        prompt = PromptList.load(Path(folder) / project.prompts_path.name).append(text, **_overrides(seeds))
    return _read(project, prompt, (), Costs(None, project.pack, None))


def add_prompt(project: "Project", text: str, seeds: str) -> int:
    """Write a prompt to the end of the project's list, if nothing is wrong with it; its place there. InputError says what is wrong."""
    if problem := read_new_prompt(project, text, seeds).problem:
        raise InputError(problem)
    prompts = project.prompt_list()
    prompts.append(text, **_overrides(seeds))
    return len(prompts) - 1


def with_prompts(text: str, name: str, added: list[str]) -> str:
    """`text`, as the project's file `name`, with these prompts at its end that are not in it yet. InputError where it cannot be read."""
    from vcd_studio.project.prompts import PromptList

    with tempfile.TemporaryDirectory(prefix="vcd-studio-") as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        try:
            PromptList.load(path).extend(added)
        except ProjectError as error:
            raise InputError(f"The prompts cannot be read, line {error.line or '?'}: {error.message}") from error
        return path.read_text(encoding="utf-8")


def _overrides(seeds: str) -> dict[str, tuple[int, ...]]:
    numbers = read_seeds(seeds)
    return {"seeds": numbers} if numbers else {}


def _read(project: "Project", prompt: "Prompt", seeds: tuple[int, ...], costs: Costs) -> ReadPrompt:
    from vcd_studio.project.prompts import resolve

    try:
        settings = prompt.settings(project.defaults)
        expanded = prompt.expanded(project.wildcard_dir)
        texts = []
        for one in expanded:
            resolve(one.written, project)
            texts.append(one.written)
        count = len(texts)
        clips = count * len(seeds or settings.seeds)
        seconds, size = costs.of(settings)
        return ReadPrompt(prompt, tuple(texts[:MOST_SHOWN]), count, clips, None if seconds is None else seconds * clips, size * clips)
    except InputError as error:
        return ReadPrompt(prompt, problem=str(error))


def read_seeds(text: str) -> tuple[int, ...]:
    """`1, 2, 5-8` as numbers; () for nothing written. InputError names what is no seed."""
    seeds: list[int] = []
    for part in text.replace(",", " ").split():
        first, dash, last = part.partition("-")
        try:
            numbers = range(int(first), int(last) + 1) if dash else (int(part),)
        except ValueError as error:
            raise InputError(f"{part!r} is no seed; write whole numbers, for example 1, 2, 5-8.") from error
        if len(numbers) > 1000 or not numbers:
            raise InputError(f"{part!r} is not a range of up to 1000 seeds; write the smaller number first, for example 5-8.")
        seeds += numbers
    return tuple(dict.fromkeys(seeds))
