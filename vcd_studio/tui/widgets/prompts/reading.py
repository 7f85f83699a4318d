"""What the editor's text means: each prompt with its expansions, its count of clips, and what is wrong, with its line."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vcd_studio.project.errors import InputError, ProjectError

if TYPE_CHECKING:
    from vcd_studio.project.project import Project
    from vcd_studio.project.prompts import Prompt

MOST_SHOWN = 12  # expansions of one prompt that are listed; all are counted


@dataclass(frozen=True)
class ReadPrompt:
    """One prompt: what it expands to (the first of them), how many clips that makes with its seeds, or its problem."""

    prompt: "Prompt"
    expansions: tuple[str, ...] = ()
    count: int = 0
    clips: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Reading:
    """The whole text; `problem` with its line where it cannot be read at all."""

    prompts: tuple[ReadPrompt, ...] = ()
    problem: str = ""
    line: int | None = None


def read_prompts(project: "Project", text: str, name: str, seeds: tuple[int, ...]) -> Reading:
    """Read `text` as the project's file `name` (prompts.toml or prompts.txt). Call it on a thread."""
    from vcd_studio.project.prompts import PromptList

    with tempfile.TemporaryDirectory(prefix="vcd-studio-") as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        try:
            prompts = PromptList.load(path).prompts
        except ProjectError as error:
            return Reading(problem=error.message, line=error.line)
    return Reading(tuple(_read(project, prompt, seeds) for prompt in prompts))


def read_new_prompt(project: "Project", text: str, seeds: str) -> ReadPrompt:
    """A prompt as it would be added to the project's list, without adding it. InputError where no list could hold it."""
    from vcd_studio.project.prompts import PromptList

    if not text:
        raise InputError("Write what the clip should show.")
    with tempfile.TemporaryDirectory(prefix="vcd-studio-") as folder:
        prompt = PromptList.load(Path(folder) / project.prompts_path.name).append(text, **_overrides(seeds))
    return _read(project, prompt, ())


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


def _read(project: "Project", prompt: "Prompt", seeds: tuple[int, ...]) -> ReadPrompt:
    from vcd_studio.project.prompts import resolve

    try:
        settings = prompt.settings(project.defaults)
        expanded = prompt.expanded(project.wildcard_dir)
        texts = []
        for one in expanded:
            resolve(one.written, project)
            texts.append(one.written)
        count = len(texts)
        return ReadPrompt(prompt, tuple(texts[:MOST_SHOWN]), count, count * len(seeds or settings.seeds))
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
