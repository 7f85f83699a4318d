"""How a cost grows with what it is paid for: measured points, the exponent of the power law through them, and their plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from vcd_studio.bench.figures import Figure, amount

STRAIGHT = 1.1
"""An exponent that still counts as a straight line: 1, and what measuring adds."""


@dataclass(frozen=True)
class Curve:
    """``costs`` by the amount ``along`` that each was measured at, in ``unit``; the exponent is wanted to be at most ``wanted``."""

    what: str
    along: str
    costs: Mapping[int, float]
    unit: str = "s"
    wanted: float = STRAIGHT

    @property
    def exponent(self) -> float:
        """p in cost ∝ amount^p, by least squares of the logarithms: 1 a straight line, 0 no growth."""
        return float(np.polyfit(np.log(list(self.costs)), np.log(list(self.costs.values())), 1)[0])

    @property
    def end(self) -> float:
        """The same between the two largest amounts, where what is always there weighs least."""
        (less, before), (more, after) = sorted(self.costs.items())[-2:]
        return math.log(after / before) / math.log(more / less)

    @property
    def figure(self) -> Figure:
        """The exponent as a line of the table, with what its ends cost."""
        (least, first), *_, (most, last) = sorted(self.costs.items())
        told = f"exponent, {self.end:.2f} at the end; {amount(first, self.unit)} to {amount(last, self.unit)}"
        return Figure(f"{self.what} against {self.along} {least}–{most}", (self.exponent,), unit="", wanted=self.wanted, note=told)


COLUMNS = 3
SIZE = 3.4, 2.5
"""Inches of one plot."""
MEASURED, LINE = "#c2410c", "#a8a29e"


def draw(curves: Sequence[Curve], path: Path) -> None:
    """All curves in one picture (PNG), a small plot each, both axes logarithmic; in grey the straight line through a curve's middle."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, NullLocator

    rows = -(-len(curves) // COLUMNS)
    drawing, panels = pyplot.subplots(rows, COLUMNS, figsize=(SIZE[0] * COLUMNS, SIZE[1] * rows), layout="constrained", squeeze=False)
    for panel, curve in zip(panels.flat, curves, strict=False):
        amounts, costs = np.array(list(curve.costs), float), np.array(list(curve.costs.values()))
        middle = np.exp(np.log(costs).mean() - np.log(amounts).mean())
        panel.loglog(amounts, middle * amounts, "--", color=LINE, linewidth=1)
        panel.loglog(amounts, costs, marker="o", markersize=4, linewidth=1.2, color=MEASURED)
        panel.set_xticks(amounts, [f"{count:g}" for count in amounts])
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        panel.yaxis.set_major_formatter(partial(_tick, unit=curve.unit))
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_minor_locator(NullLocator())
        panel.set_title(f"{curve.what}\ngrows as {curve.along}$^{{{curve.exponent:.2f}}}$", fontsize=9)
        panel.set_xlabel(curve.along)
    for panel in panels.flat[len(curves) :]:
        panel.set_visible(False)
    drawing.savefig(path, dpi=120)
    pyplot.close(drawing)


def _tick(cost: float, place: int, unit: str) -> str:
    return f"{cost * 1e3:g} ms" if unit == "s" and cost < 0.1 else f"{cost:g} {unit}"
