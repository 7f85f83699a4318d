"""Prompt templates: ``{a|b}``, ``{2$$a|b|c}`` and ``__wildcard__`` to every text they stand for (dynamicprompts does the combining)."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from vcd_studio.project.errors import InputError
from vcd_studio.project.paths import inside
from vcd_studio.project.text import plain, quoted
from vcd_studio.project.toml_file import read_text

LIMIT = 1000
LONGEST = 4000
DEEPEST = 8

_WILDCARD = re.compile(r"__([A-Za-z0-9][A-Za-z0-9_./-]*?)__")
_COUNT = re.compile(r"\{\s*(\d*)(?:-(\d*))?\s*\$\$")
# What dynamicprompts would read as comments, variables or random draws is plain text to us.
_LITERAL = {character: chr(0xF0000 + index) for index, character in enumerate("#%~@!")}
_BACK = {ord(stand_in): character for character, stand_in in _LITERAL.items()} | {0xF0100: "$"}
_SINGLE_DOLLAR = re.compile(r"(?<!\$)\$(?!\$)")


def expand(text: str, wildcard_dir: Path | None = None, *, limit: int = LIMIT) -> list[str]:
    """Every text the template stands for, in a fixed order and each once; InputError if it is broken or stands for more than ``limit``."""
    if not text.strip():
        raise InputError("The prompt is empty; write what the clip should show.")
    if len(text) > LONGEST:
        raise InputError(f"The prompt has {len(text)} characters, beginning {quoted(text, 40)}; keep it under {LONGEST}.")
    if "{" not in text and "}" not in text and "__" not in text:
        return [text.strip()]
    _check_braces(text)
    wildcards = _needed_wildcards(text, wildcard_dir)
    found: dict[str, None] = {}
    for candidate in _combinations(text, wildcards, limit):
        cleaned = re.sub(r"\s+", " ", candidate.translate(_BACK)).strip()
        if not cleaned:
            raise InputError(f"The prompt {quoted(text)} can come out empty; give every choice some text or add words around it.")
        found.setdefault(cleaned)
    if len(found) > limit:
        raise InputError(f"The prompt {quoted(text)} stands for more than {limit} prompts; take some choices out or split it.")
    return list(found)


def _combinations(text: str, wildcards: dict[str, list[str]], limit: int) -> list[str]:
    from dynamicprompts.generators.combinatorial import CombinatorialPromptGenerator
    from dynamicprompts.wildcards import WildcardManager

    manager = WildcardManager(root_map={"": [{name: [_mask(value) for value in values] for name, values in wildcards.items()}]})
    generator = CombinatorialPromptGenerator(manager)
    try:
        return list(itertools.islice(generator.generate(_mask(text), limit + 1), limit + 1))
    except RecursionError as error:
        raise InputError(f"The prompt {quoted(text)} is nested too deeply; write it with fewer braces inside braces.") from error
    except Exception as error:  # the library raises its parser's own errors, and plain ones for odd counts
        raise InputError(
            f"The prompt {quoted(text)} cannot be read as a template; choices are written {{a|b}}, a pick of two {{2$$a|b|c}}, "
            "a wildcard __name__."
        ) from error


def _mask(text: str) -> str:
    for character, stand_in in _LITERAL.items():
        text = text.replace(character, stand_in)
    return _SINGLE_DOLLAR.sub(chr(0xF0100), text)


def _check_braces(text: str) -> None:
    depth = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth < 0 or depth > DEEPEST:
            break
    if depth < 0:
        raise InputError(f"The prompt {quoted(text)} closes a brace that was never opened; remove the extra }}.")
    if depth > DEEPEST:
        raise InputError(f"The prompt {quoted(text)} is nested more than {DEEPEST} deep; write it with fewer braces inside braces.")
    if depth:
        raise InputError(f"The prompt {quoted(text)} opens a brace that is never closed; add the missing }}.")
    for count in _COUNT.finditer(text):
        if any(len(number) > 2 for number in count.groups(default="")):
            raise InputError(f"The prompt {quoted(text)} asks for {count.group(0)[1:-2]} choices at once; ask for at most 99.")


def wildcard_names(folder: Path | None) -> list[str]:
    """The wildcards of a folder: its .txt files, without the ending."""
    if folder is None or not folder.is_dir():
        return []
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.txt"))


def _needed_wildcards(text: str, folder: Path | None) -> dict[str, list[str]]:
    """The wildcards ``text`` uses and those they use in turn; a cycle is refused."""
    values: dict[str, list[str]] = {}

    def visit(source: str, path: tuple[str, ...]) -> None:
        for name in dict.fromkeys(_WILDCARD.findall(source)):
            if name in path:
                raise InputError(f"The wildcard {quoted('__' + name + '__')} leads back to itself; take it out of its own list.")
            if name not in values:
                values[name] = _read_wildcard(name, folder)
                for value in values[name]:
                    visit(value, (*path, name))

    visit(text, ())
    return values


def _read_wildcard(name: str, folder: Path | None) -> list[str]:
    known = wildcard_names(folder)
    mark = quoted(f"__{name}__")
    if folder is None or name not in known:
        listed = ", ".join(plain(f"__{other}__") for other in known) or "none"
        raise InputError(
            f"The wildcard {mark} has no list; known are: {listed}. Write its choices, one a line, into {plain(f'wildcards/{name}.txt')}."
        )
    path = inside(folder, f"{name}.txt")
    lines = [line.strip() for line in read_text(path).splitlines()]
    choices = [line for line in lines if line and not line.startswith("#")]
    if not choices:
        raise InputError(f"The list of {mark}, {plain(str(path))}, is empty; write one choice a line.")
    for choice in choices:
        _check_braces(choice)
    return choices
