"""The pocket pack on a CPU, against diffusers: the same weights, steps and threads, each side in a process of its own, taking turns."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from vcd_studio.bench import tasks
from vcd_studio.bench.contestants import Contestant
from vcd_studio.bench.figures import Figure, alternate
from vcd_studio.bench.floors import clip_floor
from vcd_studio.bench.parts import Options
from vcd_studio.bench.tasks import Setup

STEPS = {"text to video": 25, "partial denoise": 25, "ID training": 100}
"""Of one time's work; a training has 200."""
WANTED = 1.3
TOLERANCE = 1.5 / 255
"""By which the frames of the two may differ: ours are rounded to 8 bits."""


def measure(options: Options) -> Iterator[Figure]:
    """A figure for each task."""
    for work, steps in STEPS.items():
        yield compare(work, 2 if options.small else steps, options.rounds)


def compare(work: str, steps: int, rounds: int) -> Figure:
    """Both sides in turn; the note says how far their results lie apart."""
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder)
        with Contestant("ours", Setup(), answers) as ours, Contestant("diffusers", Setup(), answers) as theirs:
            took = alternate({side.name: partial(side.measure, work, steps) for side in (ours, theirs)}, rounds)
            apart = np.abs(ours.answer() - theirs.answer())
        note = _differs(work, float(apart.max()))
    denoised = {"text to video": steps, "partial denoise": int(steps * tasks.STRENGTH)}.get(work)
    floor = None if denoised is None else clip_floor(denoised)
    return Figure(
        f"{work}, {steps} steps", took["ours"], rival=took["diffusers"], rival_name="diffusers", times=WANTED, floor=floor, note=note
    )


def _differs(work: str, apart: float) -> str:
    if work == "ID training":
        return "each draws its own batches"
    return f"frames differ by {apart * 255:.1f} of 255 at most" + ("" if apart <= TOLERANCE else ": NOT EQUAL")
