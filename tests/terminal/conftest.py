"""A real xterm on a screen of its own, with the studio in it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from tests.terminal.xterm import PHOTO, SUBJECT, Terminal, new_display, open_xterm
from vcd_studio.project.project import Project

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
def display() -> Iterator[str]:
    """A screen of its own; the server chooses its number."""
    if missing := [program for program in NEEDED if shutil.which(program) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    with new_display() as name:
        yield name


@pytest.fixture
def terminal(display: str, film: Project, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """``terminal("-ti", "vt340", delay=0.15)``: an xterm with these options, in which the studio has the film open."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str, **more: Any) -> Terminal:
        process, opened = open_xterm(display, film.path, tmp_path / "home", tmp_path, *options, **more)
        started.append(process)
        return opened

    yield start
    for process in started:
        process.terminate()
        process.wait()
