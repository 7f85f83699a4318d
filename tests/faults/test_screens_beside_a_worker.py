"""Five TUIs, each a process on a terminal of its own, read the queue that a worker writes; one of them is killed, and the work goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.random_use.driver import PATIENCE, REPOSITORY, Screens, Wrong
from vcd_studio.jobs import workers
from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project

FIVE = 5
QUEUE_SCREEN = "4"
FAKE_STAGES = REPOSITORY / "tests" / "worker" / "fake_stage_worker.py"


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("VCD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return Project.create(tmp_path / "film", pack="pocket")


@pytest.fixture
def worker(film: Project) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, str(FAKE_STAGES), "--device", "cpu"], stdout=subprocess.DEVNULL)
    yield process
    process.kill()
    process.wait()


def wait_for(screens: Screens, words: str) -> None:
    until = time.monotonic() + PATIENCE
    while words not in screens.said:
        assert screens.listen(0.1), screens.said
        assert time.monotonic() < until, screens.said


def opened(film: Project, wrong: Wrong) -> Screens:
    screens = Screens(film.path, wrong, "off")
    screens.resize(30, 120)
    return screens


@pytest.mark.slow
def test_five_screens_follow_one_worker_and_kill_9_of_one_disturbs_nobody(
    film: Project, worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    gates = [tmp_path / "first", tmp_path / "second"]
    for gate in gates:
        os.mkfifo(gate)
    wrong = Wrong()
    with Store() as store:
        script = {"t2v": [["step", 1], ["gate", str(gates[0])]], "face": [["step", 1], ["gate", str(gates[1])]]}
        job = store.enqueue("generate", film.path, "a dog in the snow", ["t2v", "face", "save"], {"script": script})
        five = [opened(film, wrong) for _ in range(FIVE)]
        for screens in five:
            wait_for(screens, "cpu running")
            assert screens.press(QUEUE_SCREEN)
            wait_for(screens, "t2v 1/10 · a dog in the snow")
        gates[0].open("wb").close()
        for screens in five:
            wait_for(screens, "face 1/10 · a dog in the snow")
        five.pop().kill()
        assert [(there.pid, there.state) for there in workers.status(store)] == [(worker.pid, "running")]
        gates[1].open("wb").close()
        for screens in five:
            wait_for(screens, "cpu idle")
        late = opened(film, wrong)
        assert late.press(QUEUE_SCREEN)
        wait_for(late, "a dog in the snow")
        assert store.job(job.id).state == "done"
        assert [attempt.outcome for attempt in store.attempts(job.id)] == ["done"]
        for screens in (*five, late):
            screens.kill()
    assert wrong.found == []
    assert worker.poll() is None
