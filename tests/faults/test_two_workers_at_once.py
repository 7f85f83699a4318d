"""Two workers started at the same moment on one device: one holds it, the other says so in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vcd_studio.jobs import workers

REPOSITORY = Path(__file__).resolve().parents[2]
ROUNDS = 3


def both(command: list[str], cwd: Path) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)
        for _ in range(2)
    ]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VCD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def test_exactly_one_process_holds_the_device(tmp_path: Path) -> None:
    for _ in range(ROUNDS):
        started = both(["vcd_studio.worker", "--device", "cpu"], tmp_path)
        loser = wait_for_either(started)
        (winner,) = (process for process in started if process is not loser)
        _, said = loser.communicate()
        assert loser.returncode == 2, said
        assert said == f"{workers.already_running('cpu', winner.pid)}\n"
        assert [(worker.pid, worker.state) for worker in workers.status()] == [(winner.pid, "idle")]
        winner.terminate()
        winner.communicate()
        assert winner.returncode == 0


def wait_for_either(processes: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """The one that ends first."""
    while True:
        for process in processes:
            try:
                process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue
            return process


def test_exactly_one_verb_starts_one(tmp_path: Path) -> None:
    started = both(["vcd_studio.cli", "worker", "start", "--device", "cpu", "--json"], tmp_path)
    said = [process.communicate() for process in started]
    try:
        assert sorted(process.returncode for process in started) == [0, 2]
        (pid,) = (json.loads(out)["pid"] for process, (out, _) in zip(started, said, strict=True) if process.returncode == 0)
        (refused,) = (error for process, (_, error) in zip(started, said, strict=True) if process.returncode == 2)
        assert refused == f"vcd-studio: {workers.already_running('cpu', pid)}\n"
        assert [(worker.pid, worker.state) for worker in workers.status()] == [(pid, "idle")]
    finally:
        workers.stop()
