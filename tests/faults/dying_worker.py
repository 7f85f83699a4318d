"""Workers that die when the test says so: real ones, each a fork of one clean process that has already imported what stages need."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

import torch
from PIL import Image

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
Image.init()


def run_worker(world: Path, *, quick: bool = False, dies_at: int = 0, killed_after: float = PATIENCE) -> int:
    """A worker on the CPU with the queue in ``world``/home, until no job waits; its exit code, KILLED when it came to ``dies_at``.

    ``quick`` gives it the stages of quick_stages. After ``killed_after`` seconds it gets a true SIGKILL, and -9 is handed back. One that
    lives writes how many instants it had into ``world``/instants.
    """
    process = FORKS.Process(target=_work, args=(world, quick, dies_at))
    process.start()
    process.join(killed_after)
    process.kill()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def queue_of(world: Path) -> Path:
    """The queue's file of the workers in ``world``."""
    return world / "home" / "state" / "queue.sqlite3"


def instants_of(world: Path) -> int:
    """How many instants the worker had that ran last in ``world``."""
    return int((world / "instants").read_text())


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
    os.fsync = lambda descriptor: None  # the kernel keeps what a dead process has written: waiting for the disk would prove nothing
    torch.set_num_threads(1)
    log = os.open(world / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
