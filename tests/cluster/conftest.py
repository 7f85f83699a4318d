"""A Slurm of our own on PATH, a queue and a shared folder for every test; every wait is for the thing itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.talking_process import REPOSITORY, TalkingProcess
from vcd_studio.jobs.model import Job
from vcd_studio.jobs.store import Store

PATIENCE = 120.0
COMMANDS = ("sbatch", "srun", "sacct", "scancel", "scontrol")


@pytest.fixture(autouse=True)
def studio_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VCD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VCD_CLUSTER", json.dumps({"folder": str(tmp_path / "shared"), "gpus": 0}))
    monkeypatch.setenv("PYTHONPATH", f"{REPOSITORY}:{REPOSITORY / 'tests' / 'worker'}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "home"


class Slurm:
    """The fake one, as its administrator sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def numbers(self) -> list[str]:
        """Of all jobs that were ever submitted."""
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir())

    def state(self, number: str) -> str:
        return (self.folder / number / "state").read_text()

    def script(self, number: str) -> str:
        return (self.folder / number / "script").read_text()

    def hold(self) -> None:
        """No job begins from now on."""
        (self.folder / "hold").touch()

    def let_go(self) -> None:
        (self.folder / "hold").unlink()

    def refuse(self, why: str) -> None:
        (self.folder / "refuse").write_text(why)

    def will_say(self, number: str, state: str) -> None:
        """The state that the job ends in."""
        (self.folder / number / "verdict").write_text(state)

    def pid(self, number: str) -> int:
        return int((self.folder / number / "pid").read_text())


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    bin_folder, folder = tmp_path / "bin", tmp_path / "slurm"
    bin_folder.mkdir()
    folder.mkdir()
    for command in COMMANDS:
        path = bin_folder / command
        path.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("fake_slurm.py")} {command} "$@"\n')
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    made = Slurm(folder)
    yield made
    for number in made.numbers:
        subprocess.run(["scancel", number], check=False)
    (folder / "hold").unlink(missing_ok=True)


@pytest.fixture
def store(studio_home: Path) -> Iterator[Store]:
    with Store() as opened:
        yield opened


StartRelay = Callable[..., TalkingProcess]


@pytest.fixture
def start_relay(slurm: Slurm) -> Iterator[StartRelay]:
    """Starts a relay whose jobs have the fake stages; killed after the test whatever happened."""
    started: list[TalkingProcess] = []

    def start(*options: str) -> TalkingProcess:
        started.append(TalkingProcess(str(Path(__file__).with_name("fake_stage_relay.py")), *options))
        return started[-1]

    yield start
    for relay in started:
        if relay.process.poll() is None:
            relay.kill()


Put = Callable[..., Job]


@pytest.fixture
def put(store: Store, tmp_path: Path) -> Put:
    """Enqueues a job for Slurm whose stages act as the script says (see fake_stage_worker)."""

    def enqueue(**script: list[list[object]]) -> Job:
        return store.enqueue("generate", tmp_path, "a clip", ["t2v", "face", "save"], {"script": script}, device="slurm")

    return enqueue


def becomes(what: Callable[[], bool]) -> None:
    """Looks until it is so."""
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until, "it never became so"
        time.sleep(0.05)


def log_of(store: Store, job: Job) -> str:
    return "\n".join(event.text for event in store.events(job.id))
