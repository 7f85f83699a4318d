"""What was measured: medians with their spread, what was wanted, and rivals that took turns in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Measure = Callable[[], float]
"""Does its work once and hands back how many seconds that took."""


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``samples`` are in ``unit``; smaller is better.

    ``wanted``: at most so much. ``rival``: the samples of what it is measured against, round by round beside ours, and ``times`` how many
    times as quick as that it is wanted to be. ``floor``: what the machine could do at best, in ``unit``.
    """

    what: str
    samples: tuple[float, ...]
    unit: str = "s"
    wanted: float | None = None
    rival: tuple[float, ...] = ()
    rival_name: str = ""
    times: float | None = None
    floor: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.samples)

    @property
    def ratio(self) -> float | None:
        """How many times as quick as the rival: the median over the rounds, so that a machine that slows down slows both."""
        return statistics.median(b / a for a, b in zip(self.samples, self.rival, strict=True)) if self.rival else None

    @property
    def met(self) -> bool | None:
        """Whether it is as wanted; None where nothing was."""
        verdicts = [self.value <= self.wanted] if self.wanted is not None else []
        if self.times is not None and self.ratio is not None:
            verdicts.append(self.ratio >= self.times)
        return all(verdicts) if verdicts else None

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "what": self.what, "unit": self.unit, "median": self.value, "samples": list(self.samples), "wanted": self.wanted,
            "rival": self.rival_name or None, "rival_samples": list(self.rival), "ratio": self.ratio, "ratio_wanted": self.times,
            "floor": self.floor, "met": self.met, "note": self.note,
        }  # fmt: skip


@dataclass(frozen=True)
class Failed:
    """A line of the table for what could not be measured, and why."""

    what: str
    error: str

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"what": self.what, "error": self.error}


Line = Figure | Failed


def alternate(candidates: Mapping[str, Measure], rounds: int, warm_up: int = 1) -> dict[str, tuple[float, ...]]:
    """Seconds of each candidate, one a round. They take turns, each round beginning with another, so that none has the quiet hour."""
    for _ in range(warm_up):
        for measure in candidates.values():
            measure()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(candidates[name]())
    return {name: tuple(samples) for name, samples in seconds.items()}


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


HEAD = ("what", "here", "lowest to highest", "against", "times as quick", "floor", "wanted", "met")


def cells(figure: Line) -> tuple[str, ...]:
    """A figure as a row under :data:`HEAD`."""
    if isinstance(figure, Failed):
        return (figure.what, f"failed: {figure.error}", *[""] * (len(HEAD) - 2))
    low, high = min(figure.samples), max(figure.samples)
    spread = f"{amount(low, figure.unit)} to {amount(high, figure.unit)}, {len(figure.samples)} times" if len(figure.samples) > 1 else ""
    against = f"{figure.rival_name} {amount(statistics.median(figure.rival), figure.unit)}" if figure.rival else ""
    wanted = [f"≤ {amount(figure.wanted, figure.unit)}"] if figure.wanted is not None else []
    wanted += [f"≥ {figure.times:g} ×"] if figure.times is not None else []
    return (
        figure.what + (f" ({figure.note})" if figure.note else ""),
        amount(figure.value, figure.unit),
        spread,
        against,
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        "" if figure.floor is None else amount(figure.floor, figure.unit),
        ", ".join(wanted),
        {True: "yes", False: "no", None: ""}[figure.met],
    )


def amount(value: float, unit: str) -> str:
    """``0.46 s``, ``12 ms``, ``1.30 ms a TFLOP``, ``130 MB``: three digits."""
    if unit.partition(" ")[0] == "s" and abs(value) < 0.1:
        value, unit = value * 1e3, f"m{unit}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f} {unit}".rstrip()


def markdown(figures: Iterable[Line], head: Sequence[str] = HEAD) -> list[str]:
    """The table as a README has it."""
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(cells(figure))} |" for figure in figures)]
