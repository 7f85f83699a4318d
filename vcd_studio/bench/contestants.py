"""What is measured against what: the same work, done by the studio's method and by diffusers as its documentation has it.

``python -m vcd_studio.bench.contestants WORK SIDE`` is one of the two at the ready, in a process of its own, as its users run it: for every
line on stdin it does the work once, and answers with the seconds it took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vcd_studio.bench.figures import seconds
from vcd_studio.jobs.processes import last_line

Answer = NDArray[np.float32]
"""What was made, for comparing: frames 0..1, or the losses of a training."""
Work = Callable[[], Answer]
SIDES = ("ours", "diffusers")


class Contestant:
    """``with Contestant("text to video", "ours", …) as ours:`` waits until it is ready; ``ours.measure()`` has it do its work once.

    RuntimeError with its last words where its process ends before that.
    """

    def __init__(self, work: str, side: str, steps: int, answers: Path) -> None:
        self.name = f"{work} by {side}"
        self._answer = answers / f"{work}-{side}.npy"
        self._log = answers / f"{work}-{side}.log"
        self._command = [sys.executable, "-m", __name__, work, side, "--steps", str(steps), "--answer", str(self._answer)]

    def __enter__(self) -> Self:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self._read()
        return self

    def measure(self) -> float:
        """Seconds that one time took."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write("again\n")
            self._process.stdin.flush()
        return float(self._read())

    def answer(self) -> Answer:
        """What it made the last time."""
        return np.asarray(np.load(self._answer), np.float32)

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} has ended with exit code {self._process.wait()}: {last_line(self._log)}")
        return json.loads(line)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._process as process:  # waits for it, after closing its stdin
            if error is not None:
                process.kill()


def ready(work: str, side: str, steps: int) -> Work:
    """One side's networks loaded and set up as they are where it is used: ours as in a worker; both with a thread a core."""
    from vcd_studio.worker.networks import physical_cores, set_up_device

    if side == "ours":
        from vcd_studio.bench.ours import WORKS

        set_up_device("cpu")
        return WORKS[work](steps)
    import torch

    from vcd_studio.bench.theirs import WORKS as THEIRS

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(physical_cores())
    return THEIRS[work](steps)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {__name__}")
    parser.add_argument("work")
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--answer", type=Path, required=True)
    given = parser.parse_args(arguments)
    work = ready(given.work, given.side, given.steps)
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        made: list[Answer] = []
        took = seconds(lambda made=made: made.append(work()))  # type: ignore[misc]
        np.save(given.answer, made[0])
        print(json.dumps(took), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
