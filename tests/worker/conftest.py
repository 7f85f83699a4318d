"""Real worker processes for the tests, each with a queue of its own; every wait is for the thing itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.talking_process import REPOSITORY, TalkingProcess
from vcd_studio.jobs import workers
from vcd_studio.jobs.model import Job
from vcd_studio.jobs.store import Store

FAKE_STAGES = str(Path(__file__).with_name("fake_stage_worker.py"))


class WorkerProcess(TalkingProcess):
    """A running worker and what it says."""

    def __init__(self, *command: str) -> None:
        ours = {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        super().__init__(*command, environment={**os.environ, **ours})


@pytest.fixture(autouse=True)
def studio_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VCD_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def store(studio_home: Path) -> Iterator[Store]:
    with Store() as opened:
        yield opened


StartWorker = Callable[..., WorkerProcess]
Put = Callable[..., Job]


@pytest.fixture
def worker_process(studio_home: Path) -> Iterator[StartWorker]:
    """Starts Python with some arguments; killed after the test whatever happened."""
    started: list[WorkerProcess] = []

    def start(*arguments: str) -> WorkerProcess:
        started.append(WorkerProcess(*arguments))
        return started[-1]

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.kill()
    for left in workers.status():  # by a keeper that was killed
        with suppress(ProcessLookupError):
            os.kill(left.pid, signal.SIGKILL)


@pytest.fixture
def start_worker(worker_process: StartWorker) -> StartWorker:
    """Starts a worker with fake stages."""
    return lambda *options: worker_process(FAKE_STAGES, "--device", "cpu", *options)


@pytest.fixture
def start_kept(worker_process: StartWorker) -> StartWorker:
    """Starts a keeper of a worker with fake stages, or of another command."""
    code = "import sys; from vcd_studio.worker.keeper import keep; sys.exit(keep([sys.executable, *sys.argv[1:]], 'cpu'))"
    return lambda *options, worker=(FAKE_STAGES,): worker_process("-c", code, *worker, *options)


@pytest.fixture
def put(store: Store, tmp_path: Path) -> Put:
    """Enqueues a job whose stages act as the script says."""

    def enqueue(**script: list[list[object]]) -> Job:
        return store.enqueue("generate", tmp_path, "a clip", ["t2v", "face", "save"], {"script": script})

    return enqueue


class Gate:
    """A FIFO that a fake stage waits at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    def __str__(self) -> str:
        return str(self.path)

    def open(self) -> None:
        """Let the one that waits go on (blocks until it waits)."""
        self.path.open("wb").close()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")
