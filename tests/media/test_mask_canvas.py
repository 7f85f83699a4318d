"""The brush on a mask: shapes, edges, and undo that always comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcd_studio.media.mask_canvas import MaskCanvas


def blank(width: int = 20, height: int = 12) -> MaskCanvas:
    return MaskCanvas(np.zeros((height, width), bool))


def test_a_dab_is_round_and_cut_at_the_edge() -> None:
    canvas = blank()
    canvas.dab(5, 6, 0, True)
    assert canvas.mask.sum() == 1
    assert canvas.mask[6, 5]
    canvas.dab(5, 6, 3, True)
    assert canvas.mask[6, 2:9].all()
    assert not canvas.mask[3, 2]
    canvas.dab(0, 0, 3, True)
    assert canvas.mask[0, :4].all()
    canvas.dab(5, 6, 3, False)
    assert not canvas.mask[6, 2:9].any()


@pytest.mark.parametrize("radius", [0, 1, 4])
def test_a_line_has_no_gap(radius: int) -> None:
    canvas = blank(40, 30)
    canvas.line((3, 3), (35, 20), radius, True)
    assert all(canvas.mask[:, x].any() for x in range(3, 36))
    assert canvas.mask[20, 35]


def test_filling_closes_a_hole_and_takes_a_speck_away() -> None:
    canvas = blank()
    canvas.mask[2:9, 2:9] = True
    canvas.mask[4:6, 4:6] = False
    canvas.mask[10, 15] = True
    canvas.fill(4, 4)
    assert canvas.mask[2:9, 2:9].all()
    canvas.fill(15, 10)
    assert canvas.mask.sum() == 49


def test_growing_and_shrinking_move_the_edge() -> None:
    canvas = blank()
    canvas.mask[4:8, 4:8] = True
    canvas.grow(2)
    assert canvas.mask[2:10, 2:10].all()
    assert canvas.mask.sum() == 64
    canvas.grow(-2)
    assert canvas.mask.sum() == 16


STROKES = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 11), st.integers(0, 5), st.booleans()), min_size=1, max_size=8)


@settings(max_examples=50)
@given(STROKES)
def test_undo_goes_back_to_the_beginning_and_redo_to_the_end(strokes: list[tuple[int, int, int, bool]]) -> None:
    canvas = blank()
    for x, y, radius, paint in strokes:
        canvas.begin()
        canvas.dab(x, y, radius, paint)
    end = canvas.mask.copy()
    while canvas.undo():
        pass
    assert not canvas.mask.any()
    assert not canvas.changed
    while canvas.redo():
        pass
    assert np.array_equal(canvas.mask, end)
    assert canvas.changed == bool(end.any())


def test_a_new_stroke_forgets_what_was_taken_back() -> None:
    canvas = blank()
    canvas.begin()
    canvas.dab(1, 1, 0, True)
    canvas.undo()
    canvas.begin()
    canvas.dab(5, 5, 0, True)
    assert not canvas.redo()
    canvas.saved()
    assert not canvas.changed
