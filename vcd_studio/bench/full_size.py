"""A card with networks as they are published: each step, stage and whole clip against diffusers' pipelines, as they come and with what its
documentation has to make them quicker, and against what the card could do at best.

On a borrowed card, which needs no network: ``python -m vcd_studio.bench full-size card-memory --device cuda:0 --rounds 3 --out bench``.
Every figure is written as soon as it is there, and what fails is a line that says why.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from vcd_studio.bench.contestants import Contestant
from vcd_studio.bench.figures import Failed, Figure, Line, alternate
from vcd_studio.bench.floors import rate
from vcd_studio.bench.many import home
from vcd_studio.bench.operations import count
from vcd_studio.bench.ours import learning_dtype
from vcd_studio.bench.parts import Options
from vcd_studio.bench.random_pack import PACK, SIZE, SMALL_SIZE, write_pack
from vcd_studio.bench.tasks import Setup
from vcd_studio.locations import packs_dir

CONTESTANTS = (("ours", False), ("diffusers", False), ("diffusers", True))
"""Sides, and whether they are optimised."""
RIVALS = (("diffusers optimised", 1.2), ("diffusers", 2.0))
"""Whom ours is measured against, and how many times as quick as that it is wanted to be."""
FLOORS = 2.0
"""Times its floor that a denoising step may take."""


@dataclass(frozen=True)
class Row:
    """``work`` in so many ``steps``, wanted in ``seconds``, beside ``rivals`` as in :data:`RIVALS`; ``learns``: in other numbers than clips
    are made in; ``once``: it is long, and one time has to do."""

    what: str
    work: str
    steps: int
    seconds: float | None = None
    rivals: tuple[tuple[str, float | None], ...] = ()
    learns: bool = False
    once: bool = False


STEP = Row("a denoising step of T2V", "denoising", 10, rivals=RIVALS)
ROWS = (
    Row("T2V", "text to video", 25, rivals=RIVALS),
    Row("T2V, Face and Tiled", "whole clip", 25, seconds=8.0),
    Row("ID training", "ID training", 200, seconds=10.0, learns=True, once=True),
    Row("a tenth of an ID training", "ID training", 20, rivals=(("diffusers", None),), learns=True),
    Row("Face, of one face", "Face", 25),
    Row("Tiled, to twice the size", "Tiled", 25),
    Row("a clip noised again and denoised", "partial denoise", 25, rivals=RIVALS),
)
SMALL_STEPS = 2
"""Of every work in miniature, and of each side's first go at it, which is not measured: the shapes are those of all its steps."""


def measure(options: Options) -> Iterator[Line]:
    """Most telling first: a run on a borrowed card may be cut off."""
    dtype = "float32" if options.device == "cpu" else "float16"
    setup = Setup(PACK, SMALL_SIZE if options.small else SIZE, options.device, dtype)
    with tempfile.TemporaryDirectory(prefix="vcd-bench-") as folder, home(Path(folder)), ExitStack() as stack:
        write_pack(packs_dir() / PACK, getattr(torch, dtype), options.small, options.device)
        sides = [
            stack.enter_context(Contestant(side, replace(setup, optimised=optimised), Path(folder))) for side, optimised in CONTESTANTS
        ]
        yield Figure("a large product of matrices", (1e12 / rate(options.device, getattr(torch, dtype)),), "s a TFLOP", note=dtype)
        yield from _first_step("kernels not yet made", sides[0])
        for row in (STEP, *ROWS):
            yield from _row(replace(row, steps=SMALL_STEPS) if options.small else row, sides, options, setup)
        with Contestant("ours", setup, Path(folder)) as later:
            yield from _first_step("kernels kept by another process", later)


def _first_step(kernels: str, ours: Contestant) -> Iterator[Line]:
    """How much longer than the second a process's first denoising step takes, its networks loaded."""
    what = f"first step, {kernels}"
    try:
        first, second = (ours.measure(STEP.work, 1) for _ in range(2))
        yield Figure(what, (max(first - second, 0.0),), note="longer than the second")
    except RuntimeError as error:
        yield Failed(what, str(error))


def _row(row: Row, sides: Sequence[Contestant], options: Options, setup: Setup) -> Iterator[Line]:
    """Ours and the row's rivals take turns, those that can do it; a line for each comparison."""
    asked = [side for side in sides if side.name in ("ours", *dict(row.rivals)) and not side.has_ended]
    able = {}
    with ThreadPoolExecutor() as pool:  # nobody is measured yet: they load and compile side by side
        first = [pool.submit(side.measure, row.work, SMALL_STEPS) for side in asked]
    for side, began in zip(asked, first, strict=True):
        if error := began.exception():
            yield Failed(f"{row.what}: {side.name}", str(error))
        else:
            able[side.name] = side
    if "ours" not in able:
        return
    measures = {name: partial(side.measure, row.work, row.steps) for name, side in able.items()}
    try:
        took = alternate(measures, 1 if row.once else options.rounds, warm_up=0)
    except RuntimeError as error:
        yield Failed(row.what, str(error))
        return
    yield from _figures(row, took, {name: side.peak for name, side in able.items()}, _floor(row, options.small, setup))


def _figures(row: Row, took: Mapping[str, tuple[float, ...]], peaks: Mapping[str, float], floor: float) -> Iterator[Figure]:
    """``floor`` and each time are of the whole work; a step's own row is told a step."""
    share = row.steps if row.work == STEP.work else 1
    each = {name: tuple(seconds / share for seconds in samples) for name, samples in took.items()}
    floor /= share
    wanted = FLOORS * floor if row.work == STEP.work else row.seconds
    for rival, times in [known for known in row.rivals if known[0] in each] or [("", None)]:
        note = ", ".join(f"{_called(who)} {peaks[who]:.1f} GB at most" for who in ("ours", rival) if peaks.get(who))
        against = each.get(rival, ())
        yield Figure(row.what, each["ours"], wanted=wanted, rival=against, rival_name=rival, times=times, floor=floor, note=note)


def _called(who: str) -> str:
    return "here" if who == "ours" else who


def _floor(row: Row, small: bool, setup: Setup) -> float:
    operations = count(small).of(row.work, row.steps)
    assert operations is not None, row.work
    return operations / rate(setup.device, getattr(torch, learning_dtype(setup.device) if row.learns else setup.dtype))
