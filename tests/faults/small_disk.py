"""A worker whose project, or queue, lies on a disk that fills up: a real one, a tmpfs that only this process sees."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.dying_worker import FORKS, begin
from tests.faults.quick_stages import QUICK_STAGES
from vcd_studio.jobs.model import FINISHED
from vcd_studio.jobs.store import Store
from vcd_studio.worker import loop
from vcd_studio.worker.loop import StageFunction, explain
from vcd_studio.worker.stages import STAGES

NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000
NO_MOUNTS = 77
WAITS = "Trying again for"
ROOMY = "size=64m"


class NoMountsHere(Exception):
    """This machine lets nobody mount a tmpfs, not even in a name space of his own."""


@dataclass(frozen=True)
class Job:
    """A job as it stood when the first worker had ended."""

    state: str
    error: str
    finished: list[str]
    """Names of its finished stages."""
    missing: list[str]
    """Those of them whose artefact is not there."""
    crashes: int


@dataclass(frozen=True)
class Outcome:
    """``full``: the exit code of the worker on the full disk; ``held``: whether it waited for room in the queue, and was given it;
    ``roomy``: another one's exit code, with room again and failed jobs retried."""

    full: int
    held: bool
    roomy: int
    jobs: list[Job]


def save_on_full_disk(folder: Path, save: Callable[[Path], None]) -> str:
    """What the worker tells a person when ``save`` (a function of a module) has written into ``folder`` on a disk of one page."""
    folder.mkdir(parents=True)
    process = FORKS.Process(target=_save, args=(folder, save))
    process.start()
    process.join()
    if process.exitcode == NO_MOUNTS:
        raise NoMountsHere
    return (folder / "told").read_text()


def run_on_small_disk(world: Path, disk: str, spare: int, *, quick: bool) -> Outcome:
    """Workers with ``world``/``disk`` on a file system that has ``spare`` bytes left; afterwards what they made lies on the real disk."""
    process = FORKS.Process(target=_work, args=(world, disk, spare, quick))
    process.start()
    process.join()
    if process.exitcode == NO_MOUNTS:
        raise NoMountsHere
    assert process.exitcode == 0, (world / "worker.log").read_text()
    told = json.loads((world / "outcome.json").read_text())
    return Outcome(told["full"], told["held"], told["roomy"], [Job(**job) for job in told["jobs"]])


def _work(world: Path, below: str, spare: int, quick: bool) -> None:
    begin(world)
    disk, kept = world / below, world / "kept"
    if not _own_mounts():
        sys.exit(NO_MOUNTS)
    shutil.copytree(disk, kept)
    _mount(disk, ROOMY)
    shutil.copytree(kept, disk, dirs_exist_ok=True)
    space = os.statvfs(disk)
    _mount(disk, f"remount,size={(space.f_blocks - space.f_bfree) * space.f_frsize + spare}")
    stages = QUICK_STAGES if quick else STAGES
    worker = _start(stages)
    held = not _ended(worker, lambda: WAITS in (world / "worker.log").read_text())
    _mount(disk, f"remount,{ROOMY}")
    full = _ended_with(worker)
    jobs = _look_and_retry()
    roomy = _ended_with(_start(stages))
    shutil.copytree(disk, world / "after")
    subprocess.run(["umount", disk], check=True)
    shutil.copytree(world / "after", disk, dirs_exist_ok=True)
    (world / "outcome.json").write_text(json.dumps({"full": full, "held": held, "roomy": roomy, "jobs": jobs}))


def _start(stages: Mapping[str, StageFunction]) -> int:
    """A worker's pid. A process of its own: while one lives, its jobs are taken for being worked on."""
    worker = os.fork()
    if worker == 0:
        loop.POLL_SECONDS = 0.02
        os._exit(loop.main(["--device", "cpu", "--once"], stages=stages))
    return worker


def _ended(worker: int, or_else: Callable[[], bool]) -> bool:
    """Once it has, or once the other thing is so instead."""
    while os.waitid(os.P_PID, worker, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if or_else():
            return False
        time.sleep(0.02)
    return True


def _ended_with(worker: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])


def _save(folder: Path, save: Callable[[Path], None]) -> None:
    begin(folder)
    if not _own_mounts():
        sys.exit(NO_MOUNTS)
    disk = folder / "disk"
    disk.mkdir()
    _mount(disk, "size=4k")
    try:
        save(disk)
    except Exception as error:
        (folder / "told").write_text(explain(error, "stage train"))


def _look_and_retry() -> list[dict[str, object]]:
    told: list[dict[str, object]] = []
    with Store() as store:
        for job in sorted(store.jobs(), key=lambda job: job.id):
            finished = [stage for stage in store.stages(job.id) if stage.state == "done"]
            missing = [stage.name for stage in finished if not Path(stage.artefact or "").exists()]
            names = [stage.name for stage in finished]
            told.append({"state": job.state, "error": job.error or "", "finished": names, "missing": missing, "crashes": job.crashes})
            if job.state in FINISHED and job.state != "done":
                store.retry(job.id)
    return told


def _own_mounts() -> bool:
    """Into name spaces of this process's own, where it may mount and nobody else sees it; False where the machine forbids that."""
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None).unshare(NEW_USER | NEW_MOUNTS) != 0:
        return False
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except OSError:
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], check=False).returncode == 0


def _mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], check=True)
