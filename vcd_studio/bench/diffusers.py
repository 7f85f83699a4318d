"""The pocket pack on a CPU, against diffusers: the same weights, steps and threads, each side in a process of its own, taking turns."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vcd_studio.bench import tasks
from vcd_studio.bench.contestants import Contestant
from vcd_studio.bench.figures import Figure, alternate
from vcd_studio.bench.floors import clip_floor
from vcd_studio.bench.parts import Options

STEPS = {"text to video": 25, "partial denoise": 25, "ID training": 25}
"""Of one time's work."""
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
        with Contestant(work, "ours", steps, answers) as ours, Contestant(work, "diffusers", steps, answers) as theirs:
            took = alternate({"ours": ours.measure, "theirs": theirs.measure}, rounds)
            apart = np.abs(ours.answer() - theirs.answer())
        note = _differs(work, float(apart.max()))
    denoised = {"text to video": steps, "partial denoise": int(steps * tasks.STRENGTH)}.get(work)
    floor = None if denoised is None else clip_floor(denoised)
    return Figure(
        f"{work}, {steps} steps", took["ours"], rival=took["theirs"], rival_name="diffusers", times=WANTED, floor=floor, note=note
    )


def _differs(work: str, apart: float) -> str:
    if work == "ID training":
        return "each draws its own batches"
    return f"frames differ by {apart * 255:.1f} of 255 at most" + ("" if apart <= TOLERANCE else ": NOT EQUAL")
