"""Pictures in a real xterm, screenshots read back: pixels where it has sixel, none under a modal, nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.terminal.xterm import PHOTO, SIXEL, SUBJECT, Shot, Terminal, is_pixels, near, subject

pytestmark = pytest.mark.slow
CELL = 6
"""Pixels: the width of a cell in xterm's own font."""
A_PICTURE = 500
"""Pixels of the subject, at least, where a photo is shown."""


def shown(shot: Shot) -> bool:
    return bool(subject(shot).sum() > A_PICTURE)


def same_as(before: Shot) -> Callable[[Shot], bool]:
    """Whether the subject is where it was, and nowhere else."""
    return lambda shot: np.array_equal(subject(shot), subject(before))


def gone(shot: Shot) -> bool:
    return not subject(shot).any()


def test_a_photo_is_pixels_where_xterm_has_sixel(terminal: Callable[..., Terminal]) -> None:
    assert is_pixels(terminal(*SIXEL).until(shown, "the photo"), CELL)


def test_the_first_band_has_its_colours_too(terminal: Callable[..., Terminal]) -> None:
    """xterm 379 paints six rows wrongly where a colour is defined and not chosen again; then a subject in the middle of its photo would
    have less of the photo above it than below."""
    shot = terminal(*SIXEL).until(shown, "the photo")
    columns = np.nonzero(subject(shot))[1]
    column = shot[:, int(np.median(columns[columns > shot.shape[1] // 4]))]  # through the large photo
    photo = np.nonzero(near(column, PHOTO))[0]
    large = np.nonzero(near(column, SUBJECT))[0]
    above, below = large.min() - photo.min(), photo.max() - large.max()
    assert above > 10
    assert abs(int(above) - int(below)) <= 1


def test_a_photo_is_half_cells_where_it_has_not(terminal: Callable[..., Terminal]) -> None:
    assert not is_pixels(terminal().until(shown, "the photo"), CELL)


def test_a_photo_is_half_cells_in_tmux(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("tmux not installed")
    tmux = ("tmux", "-S", str(tmp_path / "tmux"), "-f", "/dev/null")
    try:
        assert not is_pixels(terminal(*SIXEL, through=(*tmux, "new-session")).until(shown, "the photo"), CELL)
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)


def test_no_picture_shines_through_a_modal_and_it_comes_back_the_same(terminal: Callable[..., Terminal]) -> None:
    xterm = terminal(*SIXEL)
    before = xterm.until(shown, "the photo")
    xterm.press("?")
    xterm.until(gone, "a page of help without the photo under it")
    xterm.press("\x1b")
    xterm.until(same_as(before), "the photo as it was, and no more of it")


def test_nothing_of_it_is_left_on_another_screen(terminal: Callable[..., Terminal]) -> None:
    xterm = terminal(*SIXEL)
    before = xterm.until(shown, "the photo")
    xterm.press("4")
    xterm.until(gone, "the queue without the photo")
    xterm.press("2")
    xterm.until(same_as(before), "the photo as it was, and no more of it")


def test_a_resize_leaves_one_picture_and_no_residue(terminal: Callable[..., Terminal]) -> None:
    xterm = terminal(*SIXEL)
    before = xterm.until(shown, "the photo")
    xterm.resize(120, 40)
    xterm.until(lambda shot: shown(shot) and not same_as(before)(shot), "the photo on a larger screen")
    xterm.resize(100, 34)
    xterm.until(same_as(before), "the photo as it was, and no more of it")


def test_over_a_slow_line_it_still_picks_sixel_and_keys_come_through(terminal: Callable[..., Terminal]) -> None:
    """300 ms there and back, where textual-image itself waits for 100."""
    xterm = terminal(*SIXEL, delay=0.15)
    assert is_pixels(xterm.until(shown, "the photo"), CELL)
    xterm.press("?")
    xterm.until(gone, "the help")
    xterm.press("\x1b")
    xterm.until(shown, "the photo again")


def test_graphics_can_be_chosen_where_the_terminal_claims_too_much(terminal: Callable[..., Terminal]) -> None:
    assert not is_pixels(terminal(*SIXEL, graphics="halfcell").until(shown, "the photo"), CELL)
