"""Clips on disk: ``outputs/<clip id>/`` with the film, its poster, its recipe and what each stage made."""

from __future__ import annotations

import datetime
import os
import re
import stat
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vcd_studio.project.errors import InputError, ProjectError
from vcd_studio.project.paths import inside, make_numbered, reason, write_atomic
from vcd_studio.project.text import plain, quoted
from vcd_studio.project.toml_file import parse_toml, read_text

SIDECAR = "clip.toml"
VIDEO = "clip.mp4"
POSTER = "poster.png"
RATING = "rating.toml"
Written = tuple[int, int]
"""Of a sidecar: its modification time (ns) and size, which tell whether it was written anew."""
STAGE_ORDER = ("t2v", "face", "tiled")
MADE = ("finished", "created")
"""Keys of a recipe, the first of which says when its clip was made."""
YEAR_9999 = 253_370_764_800  # in seconds since 1970: no calendar has later days


@dataclass(frozen=True)
class StageOutput:
    """What one stage made: its frames (PNG, in order) and its film, which may not be there yet."""

    name: str
    folder: Path
    video: Path
    frames: list[Path]


@dataclass(frozen=True)
class Clip:
    """One finished clip. ``recipe`` is its sidecar, or what lists tell of it if ``in_brief``; ``problem`` says why it is empty."""

    folder: Path
    recipe: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    in_brief: bool = False

    @cached_property
    def sidecar(self) -> Mapping[str, Any]:
        """Its whole recipe; of a clip in brief, it is read when it is first asked for."""
        return read_clip(self.folder).recipe if self.in_brief else self.recipe

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def video(self) -> Path:
        return inside(self.folder, VIDEO)

    @property
    def poster(self) -> Path:
        return inside(self.folder, POSTER)

    @property
    def has_video(self) -> bool:
        return self._has(VIDEO)

    @property
    def has_poster(self) -> bool:
        return self._has(POSTER)

    def _has(self, name: str) -> bool:
        """Whether this file is there, by words: of ten thousand clips a ``Path`` for each takes longer than to look."""
        try:
            mode = os.lstat(f"{self.folder}/{name}").st_mode
            return stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and inside(self.folder, name).is_file())
        except (OSError, ProjectError):
            return False

    @property
    def made(self) -> float:
        """When it was made, in seconds since 1970: the recipe's ``finished`` or ``created``, else the folder's own time."""
        for key in MADE:
            seconds = _seconds(self.recipe.get(key))
            if seconds is not None:
                return seconds
        try:
            return self.folder.stat().st_mtime
        except OSError:  # the folder went away between listing and sorting
            return 0.0

    @property
    def rating(self) -> int | None:
        """1 to 5, or None."""
        if not self._has(RATING):
            return None
        try:
            path = inside(self.folder, RATING)
            value = parse_toml(path, read_text(path)).get("rating")
        except ProjectError:  # one that is not ours
            return None
        return value if isinstance(value, int) and 1 <= value <= 5 else None

    def rate(self, rating: int | None) -> None:
        """Keep a rating beside the clip (its recipe is never changed); None takes it away."""
        if rating is None:
            inside(self.folder, RATING).unlink(missing_ok=True)
        elif 1 <= rating <= 5:
            write_atomic(inside(self.folder, RATING), f"rating = {rating}\n".encode())
        else:
            raise InputError(f"{quoted(rating)} is no rating; give 1 to 5.")

    def stages(self) -> dict[str, StageOutput]:
        """The stages there are, in the order they ran."""
        root = inside(self.folder, "stages")
        if not root.is_dir():
            return {}
        names = sorted(
            (entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".") and entry.suffix != ".part"),
            key=lambda name: (STAGE_ORDER.index(name) if name in STAGE_ORDER else len(STAGE_ORDER), name),
        )
        return {name: self._stage(name) for name in names}

    def _stage(self, name: str) -> StageOutput:
        folder = inside(self.folder, "stages", name)
        return StageOutput(name, folder, inside(folder, VIDEO), _pictures(inside(folder, "frames")))


def _pictures(frames: Path) -> list[Path]:
    if not frames.is_dir():
        return []
    with os.scandir(frames) as entries:
        found = sorted((entry.name, entry.is_symlink()) for entry in entries if entry.name.endswith(".png"))
    return [inside(frames, name) if is_link else frames / name for name, is_link in found]


def _seconds(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).timestamp()
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < YEAR_9999 else None


def read_clip(folder: Path) -> Clip:
    """The clip of a folder; a broken sidecar is told in ``problem``, not raised, so that the others can still be listed."""
    try:
        path = inside(folder, SIDECAR)
        return Clip(folder, parse_toml(path, read_text(path)))
    except ProjectError as error:
        return Clip(folder, {}, str(error))


def clip_names(outputs: Path) -> dict[str, Written]:
    """The names of the folders that have a sidecar, the one written last first.

    Reads no sidecar: of a project that was copied, the order may not be that in which its clips were made.
    """
    if not outputs.is_dir():
        return {}
    found: dict[str, Written] = {}
    with os.scandir(outputs) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and not entry.is_symlink():
                sidecar = _sidecar_stat(entry)
                if sidecar is not None and stat.S_ISREG(sidecar.st_mode):
                    found[entry.name] = sidecar.st_mtime_ns, sidecar.st_size
    return dict(sorted(found.items(), key=lambda item: (-item[1][0], item[0])))


def folders_without_recipe(outputs: Path, finished: Container[str] = ()) -> list[Path]:
    """What was begun under outputs/ and has no sidecar (yet), by name; ``finished`` are known to have one."""
    if not outputs.is_dir():
        return []
    with os.scandir(outputs) as entries:
        begun = [entry for entry in entries if entry.name not in finished and not entry.name.startswith(".")]
    return sorted(outputs / entry.name for entry in begun if entry.is_dir(follow_symlinks=False) and _sidecar_stat(entry) is None)


def _sidecar_stat(folder: os.DirEntry[str]) -> os.stat_result | None:
    """Of a folder's sidecar, where it has one. By words: a ``Path`` for each of ten thousand takes longer than to look at the file."""
    try:
        return os.stat(f"{folder.path}/{SIDECAR}")  # noqa: PTH116
    except OSError:  # no clip, or not one yet
        return None


TRASH = ".trash"


def discard(clip: Clip) -> Path:
    """Put a clip into the project's trash; where it is now, for :func:`restore`. InputError where it cannot be moved."""
    trash = inside(clip.folder.parent, TRASH)
    try:
        trash.mkdir(exist_ok=True)
        target = make_numbered(trash, clip.id, "", "-{}")
        clip.folder.rename(target)  # over the empty folder that holds the name
    except OSError as error:
        raise InputError(f"The clip {quoted(clip.id)} cannot be put into the trash ({reason(error)}); it stays.") from error
    return target


def discarded(outputs: Path) -> list[Path]:
    """The clips in the project's trash, the one that went last first: a folder's ctime is when it was moved there."""
    trash = inside(outputs, TRASH)
    if not trash.is_dir():
        return []
    folders = [entry for entry in trash.iterdir() if entry.is_dir() and not entry.is_symlink()]
    return sorted(folders, key=lambda folder: (folder.stat().st_ctime_ns, folder.name), reverse=True)


def name_before(discarded: Path) -> str:
    """What a clip in the trash was called; there, a second one of the same name has a number behind it."""
    told = read_clip(discarded).sidecar.get("id")
    numbered = isinstance(told, str) and re.fullmatch(rf"{re.escape(told)}(-\d+)?", discarded.name)
    return str(told) if numbered else discarded.name


def restore(discarded: Path) -> Path:
    """Take a clip out of the trash, back to where it was. InputError where something is there by now, or it is gone."""
    folder = discarded.parent.parent / name_before(discarded)
    if folder.exists():
        raise InputError(f"{quoted(folder.name)} is the name of another clip by now; take {plain(str(discarded))} back by hand.")
    try:
        discarded.rename(folder)
    except OSError as error:
        raise InputError(f"{plain(str(discarded))} cannot be taken back ({reason(error)}).") from error
    return folder


def write_sidecar(folder: Path, recipe: Mapping[str, Any]) -> Path:
    """Write ``clip.toml`` whole; None values are left out, paths and numbers of other libraries become plain ones. ISO times in UTC."""
    import tomli_w

    path = inside(folder, SIDECAR)
    write_atomic(path, tomli_w.dumps(_plain_table(recipe)).encode("utf-8"))
    return path


def _plain_table(table: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): _plain_value(value) for key, value in table.items() if value is not None}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _plain_table(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain_value(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value) if item is not None]
    if isinstance(value, datetime.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")  # half characters have no place in TOML
    if isinstance(value, (bool, int, float, datetime.date, datetime.time)):
        return value
    if hasattr(value, "model_dump"):
        return _plain_value(value.model_dump())
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return _plain_value(value.item())
    return str(value)
