"""Means with honest intervals: paired, and by identity, because clips of one identity are not independent of one another."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 4000


@dataclass(frozen=True)
class Interval:
    """A mean and its bootstrap 95 % interval; ``count`` values from ``groups`` identities."""

    mean: float
    low: float
    high: float
    count: int
    groups: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @property
    def above_zero(self) -> bool | None:
        """For a difference: True or False where the interval leaves no doubt, else None."""
        return True if self.low > 0 else False if self.high < 0 else None


Cells = Mapping[tuple[Any, Any], float]
"""(identity, whatever else tells one clip from another) → the value measured."""


def interval(cells: Cells, seed: int = 0, draws: int = DRAWS) -> Interval:
    """The mean of ``cells`` with its interval: identities are drawn with replacement, then the cells of each (Efron 1979, two levels).

    Raises ValueError where there is nothing to average.
    """
    if not cells:
        raise ValueError("there is nothing to average")
    groups: dict[Hashable, list[float]] = {}
    for (identity, _), value in cells.items():
        groups.setdefault(identity, []).append(value)
    values = [np.asarray(group) for group in groups.values()]
    means = _resampled(values, np.random.default_rng(seed), draws)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(np.concatenate(values).mean()), float(low), float(high), sum(map(len, values)), len(values))


def difference(a: Cells, b: Cells, seed: int = 0, draws: int = DRAWS) -> Interval:
    """a − b over the cells that both have: the same identity, prompt and seed are compared with one another."""
    return interval({cell: a[cell] - b[cell] for cell in a if cell in b}, seed, draws)


def _resampled(values: list[NDArray[np.float64]], rng: np.random.Generator, draws: int) -> NDArray[np.float64]:
    """(draws,): the mean of each resample. An identity drawn twice draws its cells twice."""
    result = np.empty(draws)
    for draw in range(draws):
        chosen = [values[index] for index in rng.integers(len(values), size=len(values))]
        drawn = [group[rng.integers(len(group), size=len(group))] for group in chosen]
        result[draw] = np.concatenate(drawn).mean()
    return result
