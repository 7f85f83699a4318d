"""Workers that die when the test says so: real ones, each a fork of one clean process that has already imported what stages need."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

import torch

import vcd_studio.models
import vcd_studio.worker.stages.face
import vcd_studio.worker.stages.save
import vcd_studio.worker.stages.segment
import vcd_studio.worker.stages.text_to_video
import vcd_studio.worker.stages.tiled
import vcd_studio.worker.stages.train  # noqa: F401
from tests.faults.instants import watch
from tests.faults.quick_stages import QUICK_STAGES
from vcd_studio.worker.loop import main
from vcd_studio.worker.stages import STAGES

KILLED = 9
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pytest", __name__])  # a fork imports the main module anew, which under `python -m pytest` is pytest's
PATIENCE = 300.0


def run_worker(world: Path, *, quick: bool, dies_at: int = 0) -> int:
    """A worker on the CPU with the queue in ``world``/home, until no job waits; its exit code, KILLED when it came to ``dies_at``.

    ``quick`` gives it the stages of quick_stages. One that lives writes how many instants it had into ``world``/instants.
    """
    process = FORKS.Process(target=_work, args=(world, quick, dies_at))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode is not None, (world / "worker.log").read_text()
    return process.exitcode


def _work(world: Path, quick: bool, dies_at: int) -> None:
    begin(world)
    counted = 0

    def at(instant: int) -> None:
        nonlocal counted
        counted = instant
        if instant == dies_at:
            os._exit(KILLED)

    watch(world, at)
    code = main(["--device", "cpu", "--once"], stages=QUICK_STAGES if quick else STAGES)
    (world / "instants").write_text(str(counted))
    sys.exit(code)


def begin(world: Path) -> None:
    """In the new process: its home, its log, one thread."""
    os.environ["VCD_HOME"] = str(world / "home")
    torch.set_num_threads(1)
    log = os.open(world / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
