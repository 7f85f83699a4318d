"""A clip as one file (or a folder of pictures) for elsewhere, which says how it was made; nothing is overwritten."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vcd_studio.media.frames import load_frames
from vcd_studio.media.provenance import png_info, read_recipe
from vcd_studio.media.video import read_video, write_gif, write_video, write_webp
from vcd_studio.project.errors import InputError
from vcd_studio.project.outputs import Clip
from vcd_studio.project.text import plain, quoted

FORMATS = ("mp4", "gif", "webp", "frames")


def export_clip(clip: Clip, stage: str | None, to: str, target: Path) -> Path:
    """The finished clip, or what a ``stage`` made, as ``target``, with the recipe in it.

    InputError for an unknown format or stage, and where something is there already.
    """
    if to not in FORMATS:
        raise InputError(f"{quoted(to)} is no format for a clip; give one of {', '.join(FORMATS)}.")
    if target.exists() or target.is_symlink():
        raise InputError(f"{plain(str(target))} is there already and stays as it is; give another place.")
    if not target.parent.is_dir():
        raise InputError(f"There is no folder {plain(str(target.parent))}; make it first.")
    pictures = _frames(clip, stage)
    film = clip.video if stage is None else clip.stages()[stage].video
    if to == "mp4" and film.is_file():
        shutil.copyfile(film, target)
        return target
    if pictures:
        frames, fps = load_frames(pictures[0].parent), _fps(clip)
    else:
        frames, fps = read_video(film)
    recipe = _recipe(clip)
    if to == "frames":
        _write_frames(target, frames, recipe)
    else:
        {"mp4": write_video, "gif": write_gif, "webp": write_webp}[to](target, frames, fps, recipe)
    return target


def _write_frames(target: Path, frames: Sequence[Any], recipe: Mapping[str, Any]) -> None:
    """0000.png, 0001.png, … each with the recipe in it; the folder appears whole or not at all."""
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".part", dir=target.parent) as place:
        part = Path(place) / "frames"
        part.mkdir()
        for index, frame in enumerate(frames):
            Image.fromarray(frame).save(part / f"{index:04d}.png", "PNG", pnginfo=png_info(recipe))
        part.rename(target)


def _recipe(clip: Clip) -> dict[str, Any]:
    """What the finished film says about itself, so that an export says the same; else the plain values of the sidecar."""
    if clip.video.is_file():
        try:
            told = json.loads(read_recipe(clip.video).get("recipe", ""))
        except (InputError, ValueError):
            told = None
        if isinstance(told, dict):
            return told
    return {key: value for key, value in clip.sidecar.items() if isinstance(value, (str, int, float))}


def _fps(clip: Clip) -> float:
    told = clip.sidecar.get("fps")
    return float(told) if isinstance(told, (int, float)) and 0 < told <= 240 else 8.0


def frames_of(clip: Clip) -> list[Any]:
    """The finished clip's frames: as they were kept, else out of its film, which has lost a little."""
    pictures = _frames(clip, None)
    return load_frames(pictures[0].parent) if pictures else list(read_video(clip.video)[0])


def _frames(clip: Clip, stage: str | None) -> list[Path]:
    """The kept PNGs of the stage, or of the last one; none where only the film is left."""
    stages = clip.stages()
    if stage is not None:
        if stage not in stages or not stages[stage].frames:
            raise InputError(f"The clip {quoted(clip.id)} has no frames of a stage {quoted(stage)}; it has {', '.join(stages) or 'none'}.")
        return stages[stage].frames
    return next((output.frames for output in reversed(list(stages.values())) if output.frames), [])
