"""Intervals: they hold the mean, they pair, they know that clips of one identity are not independent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcd_studio.evaluation.statistics import Cells, difference, interval

VALUES = st.floats(-5, 5)


def cells(values: np.ndarray) -> dict[tuple[str, int], float]:  # type: ignore[type-arg]
    return {(f"identity {i}", j): float(v) for i, row in enumerate(values) for j, v in enumerate(row)}


@given(st.lists(st.lists(VALUES, min_size=1, max_size=4), min_size=1, max_size=5))
def test_the_interval_holds_the_mean(groups: list[list[float]]) -> None:
    made: Cells = {(i, j): value for i, group in enumerate(groups) for j, value in enumerate(group)}
    known = interval(made, draws=300)
    everything = [value for group in groups for value in group]
    assert known.mean == pytest.approx(np.mean(everything))
    assert min(everything) - 1e-9 <= known.low <= known.high <= max(everything) + 1e-9
    assert (known.count, known.groups) == (len(everything), len(groups))


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(120):
        identity = rng.normal(0, 1, size=(16, 1))
        known = interval(cells(identity + rng.normal(0, 0.5, size=(16, 4))), seed=trial, draws=300)
        hits += known.low <= 0 <= known.high
    assert 0.86 <= hits / 120 <= 1.0


def test_clips_of_one_identity_are_not_counted_as_independent() -> None:
    rng = np.random.default_rng(1)
    by_identity = np.repeat(rng.normal(size=(4, 1)), 50, axis=1)
    grouped = interval(cells(by_identity), draws=500)
    alone = interval({(i, 0): value for i, value in enumerate(by_identity.ravel())}, draws=500)
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)


def test_a_small_difference_shows_where_cells_are_paired() -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(0, 3, size=(8, 6))
    a, b = cells(base + 0.2 + rng.normal(0, 0.02, base.shape)), cells(base)
    del a["identity 3", 2]  # a clip that only one arm has is left out
    known = difference(a, b, draws=500)
    assert known.above_zero is True
    assert difference(b, a, draws=500).above_zero is False
    assert known.count == 47
    assert interval(a, draws=500).above_zero is None


def test_nothing_to_average_is_said() -> None:
    with pytest.raises(ValueError, match="nothing"):
        interval({})
