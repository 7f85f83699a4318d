"""Themes: one TOML file each, under the shipped `themes/` or the user's config folder, loaded into textual's own Theme."""

from dataclasses import fields
from pathlib import Path

import tomli
from textual.color import Color, ColorParseError
from textual.css.errors import StylesheetError
from textual.css.stylesheet import Stylesheet
from textual.css.tokenizer import TokenError
from textual.theme import Theme

DEFAULT_THEME = "dark"
_KEYS = {field.name for field in fields(Theme)}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "name": str, "dark": bool, "luminosity_spread": (int, float), "text_alpha": (int, float), "variables": dict, "ansi": bool,
}  # fmt: skip
_TYPE_WORDS = {
    "name": "a word", "dark": "true or false", "luminosity_spread": "a number", "text_alpha": "a number",
    "variables": "a table of textual's theme variables", "ansi": "true or false",
}  # fmt: skip
_COLOURS = {"primary", "secondary", "accent", "foreground", "background", "surface", "panel", "boost", "success", "warning", "error"}


class ThemeError(Exception):
    """One sentence naming the theme's file and what is wrong in it."""


def load_theme(path: Path) -> Theme:
    """Read one theme file; raises ThemeError for broken TOML, an unknown key, or a value that textual could not draw with."""
    try:
        values = tomli.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        raise ThemeError(f"{path}: this theme cannot be read: {error}.") from error
    for key, value in values.items():
        if key not in _KEYS:
            raise ThemeError(f"{path}: a theme has no {key!r}; it may have {', '.join(sorted(_KEYS))}.")
        if key in _COLOURS:
            _check_colour(path, key, value)
        elif not isinstance(value, _TYPES[key]) or (isinstance(value, bool) and key != "dark"):
            raise ThemeError(f"{path}: {key} = {value!r} is not right; it must be {_TYPE_WORDS[key]}.")
    for key, value in values.get("variables", {}).items():
        _check_variable(path, key, value)
    if "primary" not in values:
        raise ThemeError(f'{path}: a theme needs at least a primary colour, such as primary = "#8fb7e8".')
    return Theme(**{"name": path.stem, **values})


def _check_colour(path: Path, key: str, value: object) -> None:
    try:
        Color.parse(str(value))
    except ColorParseError as error:
        raise ThemeError(f"{path}: {key} = {value!r} is no colour.") from error


def _check_variable(path: Path, key: str, value: object) -> None:
    """As textual's own stylesheets would take it: a text style where the name says so, else a colour."""
    rule, what = ("text-style", "text style") if key.endswith("style") else ("background", "colour")
    stylesheet = Stylesheet()
    stylesheet.add_source(f"* {{ {rule}: {value}; }}")
    try:
        if not isinstance(value, str) or set(value) & set("{};"):
            raise StylesheetError
        stylesheet.parse()
    except (StylesheetError, TokenError) as error:
        raise ThemeError(f"{path}: the variable {key} = {value!r} is no {what}.") from error


Stamp = tuple[tuple[Path, int, int], ...]


def stamp(*folders: Path) -> Stamp:
    """What tells whether a theme file was written, added or taken away: path, modification time and size of each."""
    found = []
    for path in (path for folder in folders for path in sorted(folder.glob("*.toml"))):
        try:
            seen = path.stat()
        except OSError:  # gone since it was listed
            continue
        found.append((path, seen.st_mtime_ns, seen.st_size))
    return tuple(found)


def load_themes(*folders: Path, before: dict[Path, Theme] | None = None) -> tuple[list[Theme], list[str]]:
    """All themes in these folders (a later folder's theme replaces an earlier one of the same name), and what could not be read.

    ``before`` holds what each file gave when it last could be read: a broken one gives that again. It is brought up to date.
    """
    themes: dict[str, Theme] = {}
    known = {} if before is None else before
    problems: list[str] = []
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            try:
                known[path] = load_theme(path)
            except ThemeError as error:
                problems.append(str(error))
            if path in known:
                themes[known[path].name] = known[path]
    return list(themes.values()), problems
