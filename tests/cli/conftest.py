"""The command line run in this process, with a studio home of its own; and a quick worker where a test needs one at work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vcd_studio.cli import main
from vcd_studio.project.project import Project

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Studio = Callable[..., Said]


@pytest.fixture(autouse=True)
def studio_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VCD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))  # for the processes that a test starts
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Studio:
    """``studio("queue", "list")`` → exit code, stdout, stderr."""

    def run(*words: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["vcd-studio", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Said(ended.value.code if isinstance(ended.value.code, int) else 0, said.out, said.err)

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with three different pictures."""
    folder = tmp_path / "camera"
    folder.mkdir()
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def film(tmp_path: Path, photos: Path) -> Project:
    """A project with the identity rex, a dog."""
    project = Project.create(tmp_path / "film")
    project.add_identity("rex", "dog", [photos])
    return project


@pytest.fixture
def trained(film: Project) -> Project:
    """The same with a finished training."""
    (film.identity("rex").new_run() / "tokens.safetensors").write_bytes(b"tokens")
    return film


@pytest.fixture
def worker(studio_home: Path) -> Iterator[subprocess.Popen[str]]:
    """A quick worker at work on this test's queue, on the CPU, once it holds its device; it is gone after the test."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(Path(__file__).with_name("quick_stage_worker.py")), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "holds cpu" in first, first + process.stdout.read()
    yield process
    process.terminate()
    process.communicate(timeout=60)
