"""Themes: one TOML file each, under the shipped `themes/` or the user's config folder, loaded into textual's own Theme."""

import tomllib
from dataclasses import fields
from pathlib import Path

from textual.color import Color, ColorParseError
from textual.theme import Theme

DEFAULT_THEME = "dark"
_KEYS = {field.name for field in fields(Theme)}
_COLOURS = {"primary", "secondary", "accent", "foreground", "background", "surface", "panel", "boost", "success", "warning", "error"}


class ThemeError(Exception):
    """One sentence naming the theme's file and what is wrong in it."""


def load_theme(path: Path) -> Theme:
    """Read one theme file; raises ThemeError for broken TOML, an unknown key or a colour that is none."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ThemeError(f"{path}: this theme cannot be read: {error}.") from error
    for key, value in values.items():
        if key not in _KEYS:
            raise ThemeError(f"{path}: a theme has no {key!r}; it may have {', '.join(sorted(_KEYS))}.")
        if key in _COLOURS:
            _check_colour(path, key, value)
    if "primary" not in values:
        raise ThemeError(f'{path}: a theme needs at least a primary colour, such as primary = "#8fb7e8".')
    return Theme(**{"name": path.stem, **values})


def _check_colour(path: Path, key: str, value: object) -> None:
    try:
        Color.parse(str(value))
    except ColorParseError as error:
        raise ThemeError(f"{path}: {key} = {value!r} is no colour.") from error


def load_themes(*folders: Path) -> tuple[list[Theme], list[str]]:
    """All themes in these folders (a later folder's theme replaces an earlier one of the same name), and what could not be read."""
    themes: dict[str, Theme] = {}
    problems: list[str] = []
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            try:
                theme = load_theme(path)
            except ThemeError as error:
                problems.append(str(error))
                continue
            themes[theme.name] = theme
    return list(themes.values()), problems
