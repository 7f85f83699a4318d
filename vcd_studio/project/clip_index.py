"""Many clips at once: what their recipes say in brief is kept in the cache folder, for ten thousand take seconds to be read."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from vcd_studio.locations import cache_dir
from vcd_studio.project.outputs import MADE, Clip, Written, clip_names, read_clip

FILE = "clips-1.sqlite3"
"""Another number whenever :func:`brief_of` says something else."""
AT_ONCE = 500
"""Recipes that are read before they are kept, so that whoever leaves in the middle has not waited in vain."""
PATIENCE = 1.0
"""Seconds that another process may take to write; then it is done without."""
TABLE = """
CREATE TABLE IF NOT EXISTS clip (
    outputs BLOB, name BLOB, time INTEGER, size INTEGER, brief TEXT, PRIMARY KEY (outputs, name)
) WITHOUT ROWID
"""
Brief = Mapping[str, Any]
IN_BRIEF = ("id", "written", "prompt", "seed", "frames", "width", "height", "fps", "pack", "job")


def list_clips(outputs: Path) -> list[Clip]:
    """The clips that have a sidecar, newest first."""
    return sorted(read_clips(outputs, clip_names(outputs)).values(), key=lambda clip: (-clip.made, clip.id))


def read_clips(outputs: Path, found: Mapping[str, Written], told: Callable[[float], object] = lambda _: None) -> dict[str, Clip]:
    """The clips of these names, in their order. Only recipes that are new, or were written anew, are read.

    ``told``: called with how much is done, 0..1, as it goes on.
    """
    index = ClipIndex(cache_dir() / FILE, outputs)
    clips = {name: Clip(outputs / name, brief, in_brief=True) for name, brief in index.known(found).items()}
    fresh = [name for name in found if name not in clips]
    for at in range(0, len(fresh), AT_ONCE):
        read = [_in_brief(read_clip(outputs / name)) for name in fresh[at : at + AT_ONCE]]
        index.keep((clip.id, found[clip.id], clip.recipe) for clip in read if clip.problem is None)
        clips |= {clip.id: clip for clip in read}
        told(len(clips) / len(found))
    return {name: clips[name] for name in found}


def brief_of(recipe: Mapping[str, Any]) -> Brief:
    """What lists, filters and orders ask of a recipe: a few hundred bytes of its thousands, which JSON can hold.

    A recipe may come from anyone: what is of another kind than it should be is passed on as it is.
    """
    brief: dict[str, Any] = {key: recipe[key] for key in IN_BRIEF if key in recipe}
    for key in MADE:
        if key in recipe:
            brief[key] = recipe[key].isoformat() if isinstance(recipe[key], datetime) else recipe[key]
    identities, stages, original = (recipe.get(key) for key in ("identities", "stages", "reproduces"))
    if isinstance(identities, list):
        brief["identities"] = [{"name": each.get("name")} for each in identities if isinstance(each, Mapping)]
    if isinstance(stages, Mapping):
        brief["stages"] = {name: {} for name in stages}
    if isinstance(original, Mapping):
        brief["reproduces"] = {key: original.get(key) for key in ("id", "verdict")}
    return brief


def _in_brief(clip: Clip) -> Clip:
    """Without what makes ten thousand of them large."""
    return Clip(clip.folder, brief_of(clip.recipe), clip.problem, in_brief=clip.problem is None)


class ClipIndex:
    """Briefs of a project's clips, in a SQLite file. A cache: where it cannot be read or written, recipes are read again.

    Of each clip that is gone, half a kilobyte stays.
    """

    def __init__(self, file: Path, outputs: Path) -> None:
        self._file, self._outputs = file, os.fsencode(outputs)

    def known(self, found: Mapping[str, Written]) -> dict[str, Brief]:
        """The briefs of those whose sidecar is still the one that was read."""
        if not self._file.is_file():
            return {}
        try:
            with closing(sqlite3.connect(self._file, PATIENCE)) as connection:
                ask = "SELECT brief FROM clip WHERE outputs = ? AND name = ? AND time = ? AND size = ?"
                rows = ((name, connection.execute(ask, (*self._key(name), *written)).fetchone()) for name, written in found.items())
                return {name: brief for name, row in rows if row and (brief := _brief(row[0])) is not None}
        except sqlite3.OperationalError:  # in use by another process, not readable, no table yet
            return {}
        except sqlite3.DatabaseError:  # torn: the next time one begins anew
            for file in (self._file, self._file.with_name(f"{self._file.name}-journal")):
                with contextlib.suppress(OSError):
                    file.unlink()
            return {}

    def keep(self, read: Iterable[tuple[str, Written, Brief]]) -> None:
        """Know these from now on; those that JSON cannot hold are read each time."""
        rows = [(*self._key(name), *written, held) for name, written, brief in read if (held := _held(brief))]
        with contextlib.suppress(OSError, sqlite3.Error):  # a full or read-only disk costs the cache, not the clips
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, PATIENCE)) as connection, connection:
                connection.execute(TABLE)
                connection.executemany("INSERT OR REPLACE INTO clip VALUES (?, ?, ?, ?, ?)", rows)

    def _key(self, name: str) -> tuple[bytes, bytes]:
        return self._outputs, os.fsencode(name)


def _held(brief: Brief) -> str | None:
    try:
        return json.dumps(brief, allow_nan=False)
    except (TypeError, ValueError, RecursionError):  # a date, nan, a number of thousands of digits, lists within lists
        return None


def _brief(held: object) -> Brief | None:
    try:
        brief = json.loads(held) if isinstance(held, str) else None
    except (ValueError, RecursionError):
        return None
    return brief if isinstance(brief, dict) else None
