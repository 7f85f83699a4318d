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

from vcd_studio.bench.contestants import SIDES, Contestant
from vcd_studio.bench.figures import Failed, Figure, Line, alternate
from vcd_studio.bench.floors import rate
from vcd_studio.bench.many import home
from vcd_studio.bench.operations import count
from vcd_studio.bench.parts import Options
from vcd_studio.bench.random_pack import PACK, SIZE, SMALL_SIZE, write_pack
from vcd_studio.bench.tasks import Setup
from vcd_studio.locations import packs_dir

OPTIMISED = (False, True)
RIVALS = (("ours optimised", "diffusers optimised", 1.2), ("ours optimised", "diffusers", 2.0), ("ours", "diffusers", None))
"""Who is measured against whom, and how many times as quick as that it is wanted to be."""
NAMES = {"ours": "", "ours optimised": ", compiled", "diffusers": "diffusers", "diffusers optimised": "diffusers, optimised"}
FLOORS = 2.0
"""Times its floor that a denoising step may take."""


@dataclass(frozen=True)
class Row:
    """``work`` in so many ``steps``, wanted in ``seconds``; ``learns``: in float32, and nothing is compiled."""

    what: str
    work: str
    steps: int
    seconds: float | None = None
    learns: bool = False


STEP = Row("a denoising step of T2V", "denoising", 10)
ROWS = (
    Row("T2V", "text to video", 25),
    Row("T2V, Face and Tiled", "whole clip", 25, seconds=8.0),
    Row("Face, of one face", "Face", 25),
    Row("Tiled, to twice the size", "Tiled", 25),
    Row("a clip noised again and denoised", "partial denoise", 25),
    Row("ID training", "ID training", 200, seconds=10.0, learns=True),
)
SMALL_STEPS = 2


def measure(options: Options) -> Iterator[Line]:
    """Most telling first: a run on a borrowed card may be cut off."""
    dtype = "float32" if options.device == "cpu" else "float16"
    setup = Setup(PACK, SMALL_SIZE if options.small else SIZE, options.device, dtype)
    with tempfile.TemporaryDirectory(prefix="vcd-bench-") as folder, home(Path(folder)), ExitStack() as stack:
        write_pack(packs_dir() / PACK, getattr(torch, dtype), options.small, options.device)
        setups = [(side, replace(setup, optimised=optimised)) for optimised in OPTIMISED for side in SIDES]
        sides = [stack.enter_context(Contestant(side, own, Path(folder))) for side, own in setups]
        yield Figure("a large product of matrices", (1e12 / rate(options.device, getattr(torch, dtype)),), "s a TFLOP", note=dtype)
        compiled = next((side for side in sides if side.name == "ours optimised"), None)
        if compiled:
            yield from _compiling("nothing kept", compiled)
        for row in (STEP, *ROWS):
            yield from _row(replace(row, steps=SMALL_STEPS) if options.small else row, sides, options, setup)
        if compiled:
            with Contestant("ours", replace(setup, optimised=True), Path(folder)) as later:
                yield from _compiling("kept by another process", later)


def _row(row: Row, sides: Sequence[Contestant], options: Options, setup: Setup) -> Iterator[Line]:
    """Everybody who can do it takes turns; a line for each of those of us, and for each comparison."""
    alone = row.work in ("whole clip", "Face", "Tiled")
    asked = [side for side in sides if not side.has_ended]
    asked = [side for side in asked if not (alone and "diffusers" in side.name) and not (row.learns and "optimised" in side.name)]
    able = []
    with ThreadPoolExecutor() as pool:  # nobody is measured yet: they load and compile side by side
        first = [pool.submit(side.measure, row.work, SMALL_STEPS if row.learns else row.steps) for side in asked]
    for side, began in zip(asked, first, strict=True):
        if error := began.exception():
            yield Failed(f"{row.what}: {side.name}", str(error))
        else:
            able.append(side)
    if not able:
        return
    rounds = 1 if row.learns else options.rounds
    try:
        took = alternate({side.name: partial(side.measure, row.work, row.steps) for side in able}, rounds, warm_up=0)
    except RuntimeError as error:
        yield Failed(row.what, str(error))
        return
    yield from _figures(row, took, {side.name: side.peak for side in able}, _floor(row, options.small, setup))


def _figures(row: Row, took: Mapping[str, tuple[float, ...]], peaks: Mapping[str, float], floor: float) -> Iterator[Figure]:
    """``floor`` and each time are of the whole work; a step's own row is told a step."""
    share = row.steps if row.work == STEP.work else 1
    each = {name: tuple(seconds / share for seconds in samples) for name, samples in took.items()}
    floor /= share
    wanted = FLOORS * floor if row.work == STEP.work else row.seconds
    for name in (name for name in each if "diffusers" not in name):
        against = [(rival, times) for one, rival, times in RIVALS if one == name and rival in each] or [("", None)]
        for rival, times in against:
            note = ", ".join(f"{_called(who)} {peaks[who]:.1f} GB at most" for who in (name, rival) if peaks.get(who))
            figure = Figure(row.what + NAMES[name], each[name], wanted=wanted, floor=floor, note=note)
            yield replace(figure, rival=each[rival], rival_name=NAMES[rival], times=times) if rival else figure


def _called(who: str) -> str:
    return NAMES[who] if "diffusers" in who else "here"


def _floor(row: Row, small: bool, setup: Setup) -> float:
    operations = count(small).of(row.work, row.steps)
    assert operations is not None, row.work
    return operations / rate(setup.device, getattr(torch, "float32" if row.learns else setup.dtype))


def _compiling(what: str, side: Contestant) -> Iterator[Line]:
    """What compiling makes the first clip of a size wait."""
    try:
        first, again = (side.measure(STEP.work, 1) for _ in range(2))
        yield Figure(f"compiling, {what}", (max(first - again, 0.0),), note="before the first step of a size")
    except RuntimeError as error:
        yield Failed(f"compiling, {what}", str(error))
