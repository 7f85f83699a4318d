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
    """``frames`` were compared, ``differing`` of them are not the same; the mean and the largest difference of a channel, 0..255;
    ``psnr`` in decibels, infinite for the same clip."""

    frames: int
    differing: int
    mean: float
    largest: int
    psnr: float

    @property
    def same(self) -> bool:
        return self.differing == 0


def difference(one: Clip, other: Clip) -> Difference | None:
    """Of two clips of the same length and size (uint8, height × width × 3 a frame); None for others."""
    if len(one) != len(other) or any(a.shape != b.shape for a, b in zip(one, other, strict=True)):
        return None
    apart = [np.abs(a.astype(np.int16) - b.astype(np.int16)) for a, b in zip(one, other, strict=True)]
    square = float(np.mean([(d.astype(np.float64) ** 2).mean() for d in apart]))
    return Difference(
        len(apart),
        sum(bool(d.any()) for d in apart),
        float(np.mean([d.mean() for d in apart])),
        max(int(d.max()) for d in apart),
        10 * math.log10(255**2 / square) if square else math.inf,
    )


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
