"""What is measured against what: the same work, done by the studio's method and by diffusers as its documentation has it.

``python -m vcd_studio.bench.contestants SIDE SETUP`` is one side at the ready, in a process of its own, as its users run it: for every line
on stdin, ``["text to video", 25]``, it does that work once, and answers with the seconds and the memory it took, or why it could not.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vcd_studio.bench.figures import seconds
from vcd_studio.bench.tasks import Setup
from vcd_studio.jobs.processes import last_line

Answer = NDArray[np.float32]
"""What was made, for comparing: frames 0..1, latents, or the losses of a training."""
Made = NDArray[Any]
"""The same as a side hands it out: frames may be bytes."""
Work = Callable[[], Made]
SIDES = ("ours", "diffusers")
PATIENCE = 300.0
"""Seconds: by then even the compiler should have come to an end."""


class Contestant:
    """``with Contestant("ours", …) as ours:``; ``ours.measure("text to video", 25)`` has it do that work once, in 25 steps.

    RuntimeError with its last words where its process ends before that, or the work failed.
    """

    def __init__(self, side: str, setup: Setup, answers: Path) -> None:
        self.name = f"{side} optimised" if setup.optimised else side
        self.peak = 0.0
        """GB of the card's memory that the last work took at most, its networks included; 0 on a CPU."""
        self._answer = answers / f"{self.name}.npy"
        self._log = answers / f"{self.name}.log"
        self._command = [sys.executable, "-m", __name__, side, json.dumps(asdict(setup)), "--answer", str(self._answer)]

    def __enter__(self) -> Self:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=fresh(self._answer.parent)
            )
        return self

    def measure(self, work: str, steps: int) -> float:
        """Seconds that one time took, without getting the networks ready before the first."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps([work, steps]) + "\n")
            self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"{work} by {self.name} was not done within {PATIENCE:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{work} by {self.name} has ended with exit code {self._process.wait()}: {last_line(self._log)}")
        answered: dict[str, Any] = json.loads(line)
        if "error" in answered:
            raise RuntimeError(f"{work} by {self.name} failed: {answered['error']}")
        self.peak = answered["peak"]
        return float(answered["seconds"])

    @property
    def has_ended(self) -> bool:
        """Nothing more is to be had of it."""
        return self._process.poll() is not None

    def answer(self) -> Answer:
        """What it made the last time."""
        return comparable(np.load(self._answer))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._process as process:  # waits for it, after closing its stdin
            if error is not None:
                process.kill()


def comparable(made: Made) -> Answer:
    """Bytes of frames as shares."""
    return np.divide(made, 255, dtype=np.float32) if made.dtype == np.uint8 else np.asarray(made, np.float32)


def fresh(folder: Path) -> dict[str, str]:
    """The environment of a process that finds nothing compiled but what others of this measuring, of the same ``folder``, have left."""
    return {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled"), "TRITON_CACHE_DIR": str(folder / "kernels")}


@cache
def ready(work: str, side: str, setup: Setup, steps: int) -> Work:
    """One side's networks loaded and set up as they are where it is used: ours as in a worker; both with a thread a core."""
    from vcd_studio.worker.networks import physical_cores, set_up_device

    if side == "ours":
        set_up_device(setup.device)
        from vcd_studio.bench.ours import WORKS

        return WORKS[work](setup, steps)
    import torch

    from vcd_studio.bench.theirs import WORKS as THEIRS

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(physical_cores())
    return THEIRS[work](setup, steps)


def done(work: str, side: str, setup: Setup, steps: int, answer: Path) -> dict[str, Any]:
    """One time's seconds and peak; what was made goes into ``answer``."""
    doing = ready(work, side, setup, steps)
    import torch

    on_card = setup.device != "cpu"
    if on_card:
        torch.cuda.reset_peak_memory_stats()
    made: list[Made] = []
    took = seconds(lambda: made.append(doing()))
    np.save(answer, made[0])
    return {"seconds": took, "peak": torch.cuda.max_memory_allocated() / 1e9 if on_card else 0.0}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {__name__}")
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("setup", type=json.loads)
    parser.add_argument("--answer", type=Path, required=True)
    given = parser.parse_args(arguments)
    setup = Setup(**given.setup)
    for line in sys.stdin:
        work, steps = json.loads(line)
        try:
            answered = done(work, given.side, setup, steps, given.answer)
        except Exception as error:  # the next work may do
            answered = {"error": f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"}
        print(json.dumps(answered), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
