"""Growth: the fit finds the power that points were made of, the part runs in miniature and draws what it found."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vcd_studio.bench.curves import Curve, draw
from vcd_studio.bench.growth import measure
from vcd_studio.bench.parts import Options
from vcd_studio.bench.sized import cost_of, side_of

amounts = st.lists(st.integers(1, 10**6), min_size=2, max_size=6, unique=True)


@given(amounts, st.floats(-2, 3), st.floats(1e-3, 1e3))
def test_the_exponent_is_the_power_that_the_costs_were_made_of(along: list[int], power: float, scale: float) -> None:
    curve = Curve("T2V", "frames", {count: scale * count**power for count in along})
    assert curve.exponent == pytest.approx(power, abs=1e-3)


@given(amounts, st.floats(0.1, 2), st.floats(1e-3, 1e3))
def test_a_slower_machine_grows_the_same(along: list[int], power: float, slower: float) -> None:
    costs = {count: (1.0 + count) ** power for count in along}
    times_as_much = {count: slower * cost for count, cost in costs.items()}
    assert Curve("", "", times_as_much).exponent == pytest.approx(Curve("", "", costs).exponent, abs=1e-6)


def test_a_curve_worse_than_a_straight_line_is_not_met() -> None:
    straight, square = (Curve("clips: list all", "clips", {n: 0.01 * n**power for n in (10, 100)}).figure for power in (1, 2))
    assert (straight.met, square.met) == (True, False)
    assert straight.what == "clips: list all against clips 10–100"
    assert straight.note == "exponent, 1.00 at the end; 0.10 s to 1.00 s"


def test_tiles_cover_the_square_that_is_made_for_them() -> None:
    assert [side_of(tiles, 64) for tiles in (1, 4, 9, 64)] == [64, 96, 128, 288]


def test_a_clip_that_cannot_be_made_is_not_waited_for() -> None:
    with pytest.raises(RuntimeError, match="a clip of juggling 3 has ended with exit code 2"):
        cost_of("juggling", 3, "cpu")


@pytest.mark.parametrize("count", [1, 4])
def test_every_curve_is_drawn(tmp_path: Path, count: int) -> None:
    draw([Curve("T2V", "frames", {16: 1.0, 32: 2.0})] * count, tmp_path / "growth.png")
    with Image.open(tmp_path / "growth.png") as picture:
        assert picture.width > picture.height
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10


@pytest.mark.slow
def test_every_curve_is_measured_and_drawn_and_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = os.environ.get("VCD_HOME")
    figures = list(measure(Options("cpu", 1, tmp_path, small=True)))
    assert {figure.what.partition(":")[0] for figure in figures} == {"T2V", "Tiled", "queue", "clips", "photos"}
    assert len(figures) == (18 if sys.platform == "linux" else 14)
    assert all(figure.met is not None for figure in figures)
    assert (tmp_path / "growth.png").is_file()
    assert os.environ.get("VCD_HOME") == before
    assert not list(tmp_path.glob("vcd-bench-*"))
