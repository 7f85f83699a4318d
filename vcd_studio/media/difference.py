"""How far two clips lie apart, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vcd_studio.media.sheet import contact_sheet

Clip = Sequence[NDArray[np.uint8]]
COLUMNS = 8


@dataclass(frozen=True)
class Difference:
    """The first ``frames`` of both were compared, ``differing`` of them are not the same; the mean and the largest difference of a
    channel, 0..255; ``psnr`` in decibels, infinite for the same pictures. ``lengths`` in frames, ``sizes`` as (width, height)."""

    frames: int
    differing: int
    mean: float
    largest: int
    psnr: float
    lengths: tuple[int, int]
    sizes: tuple[tuple[int, int], tuple[int, int]]

    @property
    def same(self) -> bool:
        """Bit for bit, of one length and size."""
        return self.differing == 0 and self.lengths[0] == self.lengths[1] and self.sizes[0] == self.sizes[1]

    def __str__(self) -> str:
        if self.same:
            return f"All {self.frames} frames are the same, bit for bit."
        said = [f"The {self.frames} frames that were compared do not differ."]
        if self.differing:
            figures = f"mean {self.mean:.2f}, most {self.largest} of 255, {self.psnr:.1f} dB"
            said = [f"{self.differing} of {self.frames} frames differ: {figures}."]
        if self.sizes[0] != self.sizes[1]:
            (large, small) = sorted(self.sizes, key=_area, reverse=True)
            said.append(f"Compared at {small[0]} × {small[1]}, to which {large[0]} × {large[1]} was resized.")
        if self.lengths[0] != self.lengths[1]:
            said.append(f"The longer has {max(self.lengths)} frames.")
        return " ".join(said)


def difference(one: Clip, other: Clip) -> Difference:
    """Of two clips (uint8, height × width × 3 a frame, at least one frame each).

    Of unequal lengths only the frames that both have are compared; of unequal sizes, the larger is resized to the smaller.
    """
    sizes = _size(one), _size(other)
    small = min(sizes, key=_area)
    apart = [_resized(a, small).astype(np.int16) - _resized(b, small) for a, b in zip(one, other, strict=False)]
    square = float(np.mean([(d.astype(np.float64) ** 2).mean() for d in apart]))
    return Difference(
        frames=len(apart),
        differing=sum(bool(d.any()) for d in apart),
        mean=float(np.mean([np.abs(d).mean() for d in apart])),
        largest=max(int(np.abs(d).max()) for d in apart),
        psnr=10 * math.log10(255**2 / square) if square else math.inf,
        lengths=(len(one), len(other)),
        sizes=sizes,
    )


def _size(clip: Clip) -> tuple[int, int]:
    height, width = clip[0].shape[:2]
    return width, height


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _resized(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    if frame.shape[1::-1] == size:
        return frame
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))


def side_by_side(one: Clip, other: Clip, width: int = 1280) -> Image.Image:
    """Two rows: up to eight frames of each, evenly spread."""
    rows = []
    for clip in (one, other):
        chosen = np.linspace(0, len(clip) - 1, min(len(clip), COLUMNS)).round().astype(int)
        rows.append(contact_sheet([clip[i] for i in chosen], columns=len(chosen), width=width))
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)))
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet
