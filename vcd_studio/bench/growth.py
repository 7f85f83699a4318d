"""Growth: what more frames, tiles, jobs, clips and photos cost. A straight line or better, and drawn into OUT/growth.png."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from vcd_studio.bench.curves import STRAIGHT, Curve, draw
from vcd_studio.bench.figures import Figure
from vcd_studio.bench.parts import Options
from vcd_studio.bench.sized import Cost, cost_of
from vcd_studio.bench.stored import Costs, clip_costs, photo_costs, queue_costs

FRAMES, SMALL_FRAMES = (16, 32, 64, 128, 256), (2, 4)
TILES, SMALL_TILES = (1, 4, 9, 16, 36, 64), (1, 4)
STORED, SMALL_STORED = (100, 1000, 10_000), (10, 20)
PHOTOS, SMALL_PHOTOS = (1, 10, 100, 1000), (1, 4)
LEVEL = 0.1
"""An exponent that still counts as no growth."""


def measure(options: Options) -> Iterator[Figure]:
    """The exponent of each curve; each clip is made once, as the points of a curve are many."""
    drawn: list[Curve] = []
    for curve in _curves(options):
        drawn.append(curve)
        yield curve.figure
    if importlib.util.find_spec("matplotlib"):
        draw(drawn, options.out / "growth.png")
    else:
        print("The curves are not drawn, because matplotlib is missing; install the extra study.", file=sys.stderr)


def _curves(options: Options) -> Iterator[Curve]:
    small = options.small
    yield from _frames(SMALL_FRAMES if small else FRAMES, options.device)
    yield from _tiles(SMALL_TILES if small else TILES, options.device)
    yield from _stored(queue_costs, SMALL_STORED if small else STORED, "jobs")
    yield from _stored(clip_costs, SMALL_STORED if small else STORED, "clips")
    yield from _stored(photo_costs, SMALL_PHOTOS if small else PHOTOS, "photos")


def _frames(counts: Sequence[int], device: str) -> Iterator[Curve]:
    costs = {count: cost_of("t2v", count, device) for count in counts}
    yield Curve("T2V: a step", "frames", {count: cost.step for count, cost in costs.items()})
    yield from _memory("T2V: memory of a step", "frames", costs, lambda cost: cost.step_memory)
    yield from _memory("T2V: memory of a clip", "frames", costs, lambda cost: cost.clip_memory)


def _tiles(counts: Sequence[int], device: str) -> Iterator[Curve]:
    costs = {count: cost_of("tiled", count, device) for count in counts}
    yield Curve("Tiled: a step", "tiles", {count: cost.step for count, cost in costs.items()})
    yield from _memory("Tiled: memory of a step", "tiles", costs, lambda cost: cost.step_memory, LEVEL)
    yield from _memory("Tiled: memory of a clip", "tiles", costs, lambda cost: cost.clip_memory)


def _memory(
    what: str, along: str, costs: Mapping[int, Cost], of: Callable[[Cost], float | None], wanted: float = STRAIGHT
) -> Iterator[Curve]:
    known = {count: memory for count, cost in costs.items() if (memory := of(cost)) is not None}
    if known:
        yield Curve(what, along, known, "MB", wanted)


def _stored(costs_of: Callable[[int, Path], Costs], counts: Sequence[int], along: str) -> Iterator[Curve]:
    points: dict[str, dict[int, float]] = {}
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="vcd-bench-") as folder:
            for what, cost in costs_of(count, Path(folder)).items():
                points.setdefault(what, {})[count] = cost
    for what, costs in points.items():
        yield Curve(what, along, costs)
