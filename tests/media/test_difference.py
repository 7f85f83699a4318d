"""How far two clips lie apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vcd_studio.media.difference import difference, side_by_side


def clip(value: int, frames: int = 3, size: int = 8) -> list[np.ndarray]:
    return [np.full((size, size, 3), value, np.uint8) for _ in range(frames)]


def test_the_same_clip() -> None:
    apart = difference(clip(7), clip(7))
    assert apart.same
    assert (apart.mean, apart.largest, apart.psnr) == (0, 0, math.inf)


def test_one_frame_that_differs() -> None:
    other = clip(250)
    other[1] = np.full((8, 8, 3), 10, np.uint8)
    apart = difference(clip(250), other)
    assert (apart.frames, apart.differing, apart.largest) == (3, 1, 240)
    assert apart.mean == 80
    assert abs(apart.psnr - 10 * math.log10(255**2 / (240**2 / 3))) < 1e-9


def test_of_another_length_what_both_have_is_compared() -> None:
    apart = difference(clip(1), clip(1, frames=4))
    assert (apart.frames, apart.differing, apart.same) == (3, 0, False)
    assert str(apart) == "The 3 frames that were compared do not differ. The longer has 4 frames."


@pytest.mark.parametrize("turned", [False, True])
def test_of_another_size_the_larger_is_resized_and_it_is_said(turned: bool) -> None:
    small, large = clip(10), clip(30, size=16)
    apart = difference(large, small) if turned else difference(small, large)
    assert (apart.frames, apart.mean, apart.largest, apart.same) == (3, 20, 20, False)
    assert str(apart).endswith("Compared at 8 × 8, to which 16 × 16 was resized.")
    assert not difference(clip(10), clip(10, size=16)).same


def test_a_sheet_has_both() -> None:
    sheet = np.asarray(side_by_side(clip(0), clip(255, frames=20, size=16), width=320))
    assert sheet[1, 1].max() < 30
    assert sheet[-2, 1].min() > 225
