"""A real xterm on a screen of its own, with the studio in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.terminal.xterm import PHOTO, SUBJECT, Terminal
from vcd_studio.project.project import Project

REPOSITORY = Path(__file__).resolve().parents[2]
NEEDED = ("Xvfb", "xterm", "import")


@pytest.fixture
def film(tmp_path: Path) -> Project:
    """A project whose one photo shows a round subject in a colour that nothing else has."""
    photo = Image.new("RGB", (300, 240), PHOTO)
    ImageDraw.Draw(photo).ellipse((60, 30, 240, 210), fill=SUBJECT)
    (tmp_path / "camera").mkdir()
    photo.save(tmp_path / "camera" / "0.png")
    project = Project.create(tmp_path / "film")
    project.add_identity("rex", "dog", [tmp_path / "camera"])
    return project


@pytest.fixture
def display(tmp_path: Path) -> Iterator[str]:
    """A screen of its own; the server chooses its number."""
    if missing := [program for program in NEEDED if shutil.which(program) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1000x700x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    with os.fdopen(reading) as number:
        yield f":{number.readline().strip()}"
    server.terminate()
    server.wait()


@pytest.fixture
def terminal(display: str, film: Project, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """``terminal("-ti", "vt340", delay=0.15)``: an xterm with these options, in which the studio has the film open."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str, delay: float = 0.0, through: tuple[str, ...] = (), graphics: str = "auto") -> Terminal:
        studio = [sys.executable, "-m", "vcd_studio.cli", "--project", str(film.path), "--graphics", graphics]
        pipe = tmp_path / "keys"
        relay = [sys.executable, str(Path(__file__).with_name("relay.py")), str(pipe), str(delay), *through, *studio]
        look = ["-xrm", "XTerm*numColorRegisters: 256", "-xrm", "XTerm*allowWindowOps: true", "-tn", "xterm-256color", "-bg", "black"]
        environment = {**os.environ, "DISPLAY": display, "VCD_HOME": str(tmp_path / "home"), "PYTHONPATH": str(REPOSITORY)}
        environment |= {"COLORTERM": "truecolor", "TMUX": "", "LANG": "C.UTF-8"}
        command = ["xterm", *options, *look, "-geometry", "100x34", "-e", *relay]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        shots = tmp_path / "shots"
        shots.mkdir()
        return Terminal(display, pipe, shots)

    yield start
    for process in started:
        process.terminate()
        process.wait()
