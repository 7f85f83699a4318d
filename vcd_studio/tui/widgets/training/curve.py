"""The curves of a training, drawn in braille dots: each cell is two dots wide and four high."""

import csv
import itertools
import math
from pathlib import Path

from rich.text import Text
from textual.widget import Widget

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
SMOOTHING = 0.85  # share of the past in the smoothed line


Points = list[tuple[int, float]]
"""(step, value)"""


def read_curves(path: Path) -> tuple[Points, Points]:
    """The loss and the tokens' norm from a loss.csv with a header; a line being written just now is left out. OSError without a file.

    Runs that were made before norms were kept have none.
    """
    losses: Points = []
    norms: Points = []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        for row in csv.DictReader(file):
            for points, key in ((losses, "loss"), (norms, "token_norm")):
                try:
                    step, value = int(row.get("step") or ""), float(row.get(key) or "")
                except ValueError:
                    continue
                if math.isfinite(value):
                    points.append((step, value))
    return losses, norms


def smooth(values: list[float]) -> list[float]:
    """Exponential mean with its start corrected, as training tools draw it."""
    smoothed, mean, weight = [], 0.0, 0.0
    for value in values:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        smoothed.append(mean / weight)
    return smoothed


def braille(points: list[tuple[int, float]], columns: int, rows: int, last_step: int) -> list[str]:
    """Points (step, value) as `rows` lines of `columns` braille cells, from step 0 to `last_step`, joined into a line."""
    if not points or columns < 1 or rows < 1:
        return [" " * columns] * rows
    width, height = columns * 2, rows * 4
    low, high = min(value for _, value in points), max(value for _, value in points)
    span = (high - low) or 1.0
    cells = [[0] * columns for _ in range(rows)]
    before: int | None = None
    for x, value in _per_column(points, width, max(last_step, points[-1][0], 1)):
        y = round((high - value) / span * (height - 1))
        for dot in range(min(y, before if before is not None else y), max(y, before if before is not None else y) + 1):
            cells[dot // 4][x // 2] |= _DOTS[dot % 4][x % 2]
        before = y
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in line) for line in cells]


def _per_column(points: list[tuple[int, float]], width: int, last_step: int) -> list[tuple[int, float]]:
    """One value a dot column: the mean of those that fall into it, straight lines between columns with none."""
    sums: dict[int, list[float]] = {}
    for step, value in points:
        sums.setdefault(min(width - 1, step * width // (last_step + 1)), []).append(value)
    known = [(x, sum(values) / len(values)) for x, values in sorted(sums.items())]
    filled: list[tuple[int, float]] = []
    for (x, value), (x_next, next_value) in itertools.pairwise(known):
        filled += [(at, value + (next_value - value) * (at - x) / (x_next - x)) for at in range(x, x_next)]
    return [*filled, known[-1]]


class Curve(Widget):
    """One value of a training run over its steps: its highest and lowest, the line, and the last one. `smoothed`: noise is averaged out."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "Curve { width: 1fr; height: 1fr; }"

    def __init__(self, title: str, *, smoothed: bool = False, empty: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self.title, self.smoothed, self.empty = title, smoothed, empty
        self.points: Points = []
        self.steps = 0

    def show(self, points: Points, steps: int) -> None:
        """Draw these points on an axis of so many steps."""
        if (points, steps) != (self.points, self.steps):
            self.points, self.steps = points, steps
            self.refresh()

    def render(self) -> Text:
        """Values left, curve right, the last value below."""
        width, height = self.size
        if not self.points:
            return Text(self.empty, "dim")
        values = [value for _, value in self.points]
        values = smooth(values) if self.smoothed else values
        points = [(step, value) for (step, _), value in zip(self.points, values, strict=True)]
        label = 7
        rows = max(1, height - 1)
        lines = braille(points, max(4, width - label), rows, self.steps)
        high, low = f"{max(values):.4f}", f"{min(values):.4f}"
        accent = self.app.theme_variables.get("accent", "")
        text = Text(no_wrap=True, overflow="ellipsis")
        for at, line in enumerate(lines):
            words = high if at == 0 else low if at == rows - 1 else ""
            text.append(f"{words:<{label}}", "dim")
            text.append(line + "\n", accent)
        text.append(f"{self.title} {values[-1]:.4f} at step {points[-1][0]}" + (f" of {self.steps}" if self.steps else ""), "dim")
        return text
