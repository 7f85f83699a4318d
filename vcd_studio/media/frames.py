"""A folder of frames: 0000.png, 0001.png, …; it appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vcd_studio.project.errors import InputError
from vcd_studio.project.paths import reason
from vcd_studio.project.photos import open_photo
from vcd_studio.project.text import plain

Frame = npt.NDArray[np.uint8]


def save_frames(folder: Path, frames: Iterable[Frame]) -> list[Path]:
    """Write every frame (uint8, height x width x 3) losslessly. A stage that is run again puts its frames in place of the old ones.

    The frames go to ``<folder>.part`` first; what a killed process left there is thrown away. InputError if they cannot be written.
    """
    from PIL import Image

    part = folder.with_name(folder.name + ".part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if part.exists():
            shutil.rmtree(part)
        part.mkdir()
        names = []
        for index, frame in enumerate(frames):
            if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
                raise ValueError(f"a frame is uint8 (height, width, 3), not {frame.dtype} {frame.shape}")
            names.append(f"{index:04d}.png")
            with (part / names[-1]).open("xb") as file:
                Image.fromarray(frame).save(file, "PNG", compress_level=3)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.parent))
            folder.rename(old / folder.name)
            part.rename(folder)
            shutil.rmtree(old)
        else:
            part.rename(folder)
    except OSError as error:
        raise InputError(
            f"The frames {plain(str(folder))} cannot be written ({reason(error)}); make the folder writable or free some space."
        ) from error
    return [folder / name for name in names]


def frame_paths(folder: Path) -> list[Path]:
    """The frames of a folder in order; none if it is not there."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.suffix == ".png" and path.stem.isdigit()), key=lambda path: int(path.stem))


def load_frames(folder: Path) -> list[Frame]:
    """The frames (uint8, height x width x 3); InputError if there are none, one is broken or they differ in size."""
    frames = [np.asarray(open_photo(path, smallest=1), dtype=np.uint8) for path in frame_paths(folder)]
    if not frames:
        raise InputError(f"There are no frames in {plain(str(folder))}; run the stage again.")
    if len({frame.shape for frame in frames}) > 1:
        raise InputError(f"The frames in {plain(str(folder))} differ in size; run the stage again.")
    return frames
