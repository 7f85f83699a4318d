"""The studio as a person has it: its command line and screens in processes of their own, a worker beside them, one home."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.complaints.terminal import Terminal
from vcd_studio.jobs.model import Job
from vcd_studio.jobs.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
Until = Callable[[Callable[[], Any], str], Any]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VCD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    with Store() as opened:
        yield opened


def until(true: Callable[[], Any], what: str) -> Any:
    """What the question answers, once it is something."""
    end, pulse = time.monotonic() + PATIENCE, threading.Event()
    while not (found := true()):
        assert time.monotonic() < end, f"never came: {what}"
        pulse.wait(0.02)
    return found


@pytest.fixture
def studio() -> Callable[..., str]:
    """``studio("queue", "list")``: what it answers. A command that fails fails the test."""

    def run(*words: str | Path) -> str:
        said = subprocess.run([sys.executable, "-m", "vcd_studio.cli", *map(str, words)], capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        return said.stdout

    return run


class HeldWorker:
    """A worker of held_worker.py, at work."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("held_worker.py")), "--device", "cpu"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        assert "holds cpu" in first, first + self.process.stdout.read()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    def ends(self) -> int:
        """Its exit code, once it was asked to end and has."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


@pytest.fixture
def worker(home: Path) -> Iterator[Callable[[], HeldWorker]]:
    """``worker()`` starts one."""
    started: list[HeldWorker] = []

    def start() -> HeldWorker:
        started.append(HeldWorker())
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def put(store: Store, tmp_path: Path) -> Callable[..., Job]:
    """``put("a clip", seed=3)``: a job for such workers."""
    project = tmp_path / "film"
    project.mkdir()

    def enqueue(title: str, **settings: Any) -> Job:
        return store.enqueue("generate", project, title, ["t2v", "save"], settings)

    return enqueue


@pytest.fixture
def screens(home: Path) -> Iterator[Callable[..., Terminal]]:
    """``screens("--project", path)``: the studio's screens in a terminal that the test reads and types into."""
    opened: list[Terminal] = []

    def start(*words: str | Path, environment: Mapping[str, str] | None = None) -> Terminal:
        opened.append(Terminal([sys.executable, "-m", "vcd_studio.cli", *map(str, words)], {**os.environ, **(environment or {})}))
        return opened[-1]

    yield start
    for each in opened:
        each.hang_up()
