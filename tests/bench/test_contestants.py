"""Both sides of the comparison do the same work: clips that are equal, trainings that learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vcd_studio.bench import contestants
from vcd_studio.bench.contestants import SIDES, Contestant, comparable, fresh, ready
from vcd_studio.bench.diffusers import STEPS, TOLERANCE, compare
from vcd_studio.bench.tasks import Setup


@pytest.mark.slow
@pytest.mark.parametrize("work", ["text to video", "partial denoise"])
def test_both_sides_make_the_same_clip(work: str) -> None:
    ours, theirs = (comparable(ready(work, side, Setup(), 3)()) for side in SIDES)
    assert ours.shape == theirs.shape == (16, 64, 64, 3)
    assert np.abs(ours - theirs).max() <= TOLERANCE
    assert ours.std() > 0.05


@pytest.mark.slow
def test_a_comparison_has_both_sides_in_every_round() -> None:
    figure = compare("ID training", 2, 2)
    assert len(figure.samples) == len(figure.rival) == 2
    assert min(figure.samples + figure.rival) > 0
    assert figure.note == "each draws its own batches"
    assert "ID training" in STEPS


@pytest.mark.slow
def test_a_work_that_fails_leaves_its_side_at_the_ready(tmp_path: Path) -> None:
    with Contestant("ours", Setup(), tmp_path) as ours:
        with pytest.raises(RuntimeError, match="juggling by ours failed: KeyError: 'juggling'"):
            ours.measure("juggling", 1)
        assert ours.measure("ID training", 1) > 0
        assert ours.answer().shape == (1,)


def test_kernels_made_before_the_measuring_are_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", "/kept/by/a/worker")
    assert Path(fresh(tmp_path)["TRITON_CACHE_DIR"]).is_relative_to(tmp_path)


def test_a_side_that_takes_for_ever_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contestants, "PATIENCE", 0.0)
    with Contestant("ours", Setup(), tmp_path) as ours:
        with pytest.raises(RuntimeError, match="juggling by ours was not done within 0 s"):
            ours.measure("juggling", 1)
        assert ours.has_ended


def test_a_side_that_cannot_begin_is_not_waited_for(tmp_path: Path) -> None:
    nobody = Contestant("nobody", Setup(), tmp_path)
    with pytest.raises(RuntimeError, match="juggling by nobody has ended with exit code 2"), nobody:
        nobody.measure("juggling", 1)
