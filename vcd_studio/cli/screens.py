"""The way to the screens: without typer where it can be, which takes a fifth of the time until they are drawn to read two options."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vcd_studio.project.errors import InputError

MODES = ("auto", "sixel", "kitty", "halfcell", "off")
"""In which pictures can be drawn."""


def plainly_asked(words: Sequence[str]) -> tuple[Path | None, str | None] | None:
    """The project and the mode that the screens are to be opened with, where these words are their options and right; None for any others,
    which typer reads, and refuses, better. ``my-film/`` alone is the project, as a shell completes it."""
    if len(words) == 1 and _folder(words[0]):
        return Path(words[0]), None
    given: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, sign, value = word.partition("=")
        value = value if sign else next(rest, "")
        if name not in ("--project", "--graphics") or not value or value.startswith("-"):
            return None
        given[name] = value
    project, graphics = given.get("--project"), given.get("--graphics")
    if graphics is not None and graphics not in MODES:
        return None
    return None if project is None else Path(project), graphics


def _folder(word: str) -> bool:
    """Whether a word is a path, for no verb has a separator in it."""
    return (os.sep in word or word in (os.curdir, os.pardir)) and not word.startswith("-")


def open_screens(project: Path | None, graphics: str | None) -> int:
    """On a project or on the list of them; their exit code. InputError for a project that is none, or without a terminal."""
    if project is not None:
        from vcd_studio.project.project import Project

        project = Project.open(project).path
    if not (sys.stdin.isatty() and (sys.stdout.isatty() or sys.stderr.isatty())):
        raise InputError("The screens need a terminal; without one use a verb, for example: vcd-studio queue list --json.")
    from vcd_studio import tui

    return tui.run(project, graphics)
