"""TOML that people edit: errors with file and line and the nearest known key; edits keep every comment."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from vcd_studio.project.errors import Problem, ProjectError
from vcd_studio.project.paths import reason, write_atomic
from vcd_studio.project.text import plain, quoted

if typing.TYPE_CHECKING:
    import tomlkit

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]
LARGEST_FILE = 4 * 1024 * 1024
_KEY = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)"""
_KEYS = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"\s*\[\s*({_KEYS})\s*\]")
_ARRAY = re.compile(rf"\s*\[\[\s*({_KEYS})\s*\]\]")
_PAIR = re.compile(rf"\s*({_KEYS})\s*=")
_VALID = re.compile(r"^an? valid (\w)")


def read_text(path: Path) -> str:
    """The file's text; ProjectError if it is missing, too large, not a file or not UTF-8."""
    try:
        if not path.is_file():
            raise ProjectError("this file is missing; create it or restore it.", path)
        if path.stat().st_size > LARGEST_FILE:
            raise ProjectError(f"this file is larger than {LARGEST_FILE // 1024 // 1024} MiB; it cannot be a settings file.", path)
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ProjectError("this is not UTF-8 text; save the file as UTF-8.", path, line) from error
    except OSError as error:
        raise ProjectError(f"this file cannot be read ({reason(error)}); check its permissions.", path) from error


def parse_toml(path: Path, text: str) -> dict[str, Any]:
    """The file's tables; ProjectError with the line where it stops being TOML."""
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise ProjectError(f"this is not valid TOML ({plain(error.msg)}); correct the line.", path, error.lineno) from error
    except (RecursionError, ValueError) as error:  # absurdly nested tables, integers with thousands of digits
        raise ProjectError(f"this TOML cannot be read ({plain(str(error))[:120]}); simplify it.", path) from error


def read_toml(path: Path, model: type[Model]) -> Model:
    """``path`` as ``model``; the first problem is raised as ProjectError."""
    value, problems = examine_toml(path, model)
    if value is None:
        raise ProjectError(problems[0].message, problems[0].file, problems[0].line)
    return value


def examine_toml(path: Path, model: type[Model]) -> tuple[Model | None, list[Problem]]:
    """``path`` as ``model``, or None and every problem found."""
    try:
        return _examine(path, read_text(path), model)
    except ProjectError as error:
        return None, [Problem(error.file or path, error.line, error.message)]


def _examine(path: Path, text: str, model: type[Model]) -> tuple[Model | None, list[Problem]]:
    data = parse_toml(path, text)
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        lines = key_lines(text)
        return None, [
            Problem(path, line_of(lines, tuple(item["loc"])), explain(item["type"], item["msg"], tuple(item["loc"]), item["input"], model))
            for item in error.errors(include_url=False)
        ]


def explain(kind: str, message: str, location: Location, value: object, model: type[BaseModel]) -> str:
    """One sentence about one pydantic error: the key, the value, what would be right."""
    key = ".".join(str(part) for part in location if isinstance(part, str) and not part.startswith(("tuple[", "dict[", "function-")))
    if kind == "extra_forbidden":
        known = known_keys(model, location[:-1])
        return f"unknown key {quoted(location[-1])}; {nearest(str(location[-1]), known)}"
    if kind == "missing":
        return f"the key {quoted(key)} is missing; add it."
    if kind == "string_pattern_mismatch" and (field := _field_at(model, location)) is not None and field.description:
        message = f"Input should be {field.description}"
    wanted = plain(message.removeprefix("Value error, "))
    wanted = _VALID.sub(lambda found: f"{'an' if found[1] in 'aeiou' else 'a'} {found[1]}", wanted.removeprefix("Input should be "))
    joined = f"it must be {wanted}" if wanted != message and not message.startswith("Value error") else wanted
    return f"{quoted(value)} is not right for {quoted(key)}: {joined}." if key else f"{joined}."


def nearest(word: str, known: list[str]) -> str:
    """``did you mean "x"?``, or the list of what there is."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {quoted(close[0])}?"
    return f"known are: {', '.join(plain(name) for name in known) or 'none'}."


def known_keys(model: type[BaseModel], location: Location) -> list[str]:
    """The keys allowed in the table at ``location`` of ``model``."""
    here: Any = model
    for part in location:
        if isinstance(part, str) and (field := _fields(here).get(part)) is not None:
            here = _table_of(field.annotation)
    return list(_fields(here))


def _field_at(model: type[BaseModel], location: Location) -> FieldInfo | None:
    """What ``model`` says of the value at ``location``."""
    here, field = model, None
    for part in location:
        if isinstance(part, str) and (found := _fields(here).get(part)) is not None:
            here, field = _table_of(found.annotation), found
    return field


def _fields(table: Any) -> Mapping[str, FieldInfo]:
    return table.model_fields if isinstance(table, type) and issubclass(table, BaseModel) else {}


def _table_of(annotation: Any) -> Any:
    for inner in (annotation, *typing.get_args(annotation)):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return annotation


def key_lines(text: str) -> dict[Location, int]:
    """Where each key and table is written: its path (array tables with their index) → line number from 1."""
    lines: dict[Location, int] = {}
    table: Location = ()
    counts: dict[Location, int] = {}
    open_quote = ""
    for number, line in enumerate(text.split("\n"), start=1):
        was_open, open_quote = open_quote, _quote_after(line, open_quote)
        if was_open:
            continue
        if found := _ARRAY.match(line):
            path = _with_indices(_split(found.group(1)), counts)
            counts[path] = counts.get(path, -1) + 1
            table = (*path, counts[path])
        elif found := _TABLE.match(line):
            table = _with_indices(_split(found.group(1)), counts)
            if table in counts:
                table = (*table, counts[table])
        elif found := _PAIR.match(line):
            keys = (*table, *_split(found.group(1)))
            for end in range(len(table) + 1, len(keys) + 1):
                lines.setdefault(keys[:end], number)
            continue
        else:
            continue
        lines.setdefault(table, number)
    return lines


def _quote_after(line: str, quote: str) -> str:
    """The multi-line quote still open at the end of ``line``, given the one open at its start."""
    position = 0
    while position < len(line):
        if quote:
            end = line.find(quote, position)
            if end < 0:
                return quote
            position, quote = end + 3, ""
        elif line[position : position + 3] in ('"""', "'''"):
            quote, position = line[position : position + 3], position + 3
        elif line[position] == "#":
            return ""
        elif line[position] in "\"'":
            closed = re.compile(r'"(?:[^"\\]|\\.)*"' if line[position] == '"' else r"'[^']*'").match(line, position)
            position = closed.end() if closed else len(line)
        else:
            position += 1
    return quote


def _split(keys: str) -> Location:
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in re.findall(_KEY, keys))


def _with_indices(path: Location, counts: Mapping[Location, int]) -> Location:
    """``("a", "b")`` → ``("a", 2, "b")`` where ``a`` is an array of tables that has come to its third."""
    full: Location = ()
    for part in path[:-1]:
        full = (*full, part)
        if full in counts:
            full = (*full, counts[full])
    return (*full, *path[-1:])


def line_of(lines: Mapping[Location, int], location: Location) -> int | None:
    """The line of ``location``, or of the nearest table around it."""
    for end in range(len(location), 0, -1):
        if location[:end] in lines:
            return lines[location[:end]]
    return None


def edit_toml(path: Path, model: type[BaseModel], change: Callable[[tomlkit.TOMLDocument], None]) -> None:
    """Let ``change`` edit the document and write it back whole; comments, order and spacing stay as the person left them.

    What would not read back as ``model`` is never written: ProjectError, and the file is as it was.
    """
    import tomlkit

    text = read_text(path)
    parse_toml(path, text)
    document = tomlkit.parse(text)
    change(document)
    try:
        written = tomlkit.dumps(document).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ProjectError("this text has half characters that no file can hold; type it again.", path) from error
    _, problems = _examine(path, written.decode("utf-8"), model)
    if problems:
        raise ProjectError(problems[0].message, path, problems[0].line)
    write_atomic(path, written)
