"""How far two clips lie apart."""

from __future__ import annotations

import math

import numpy as np

from vcd_studio.media.difference import difference, side_by_side


def clip(value: int, frames: int = 3, size: int = 8) -> list[np.ndarray]:
    return [np.full((size, size, 3), value, np.uint8) for _ in range(frames)]


def test_the_same_clip() -> None:
    apart = difference(clip(7), clip(7))
    assert apart is not None
    assert apart.same
    assert (apart.mean, apart.largest, apart.psnr) == (0, 0, math.inf)


def test_one_frame_that_differs() -> None:
    other = clip(250)
    other[1] = np.full((8, 8, 3), 10, np.uint8)
    apart = difference(clip(250), other)
    assert apart is not None
    assert (apart.frames, apart.differing, apart.largest) == (3, 1, 240)
    assert apart.mean == 80
    assert abs(apart.psnr - 10 * math.log10(255**2 / (240**2 / 3))) < 1e-9


def test_other_lengths_and_sizes_cannot_be_held_against_each_other() -> None:
    assert difference(clip(1), clip(1, frames=4)) is None
    assert difference(clip(1), clip(1, size=9)) is None


def test_a_sheet_has_both() -> None:
    sheet = np.asarray(side_by_side(clip(0), clip(255, frames=20, size=16), width=320))
    assert sheet[1, 1].max() < 30
    assert sheet[-2, 1].min() > 225
