"""A real xterm: keys in, screenshots out, and what is seen in them."""

from __future__ import annotations

import base64
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SECONDS = 60.0
"""A test gives up after this long."""
SUBJECT = (250, 0, 250)
"""No theme and no text has this colour."""
PHOTO = (20, 60, 20)
"""What is around it."""
Shot = NDArray[np.int16]


REPOSITORY = Path(__file__).resolve().parents[2]
SIXEL = ("-ti", "vt340")
"""Options of an xterm that draws sixels."""


@contextmanager
def new_display(size: str = "1000x700") -> Iterator[str]:
    """A screen of its own; the server chooses its number."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{size}x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    with os.fdopen(reading) as number:
        yield f":{number.readline().strip()}"
    server.terminate()
    server.wait()


def open_xterm(
    display: str,
    project: Path,
    home: Path,
    folder: Path,
    *options: str,
    delay: float = 0.0,
    through: tuple[str, ...] = (),
    graphics: str = "auto",
) -> tuple[subprocess.Popen[bytes], Terminal]:
    """An xterm with these options, in which the studio has the project open; ``folder`` takes its pipe and its screenshots."""
    studio = [sys.executable, "-m", "vcd_studio.cli", "--project", str(project), "--graphics", graphics]
    pipe, shots = folder / "keys", folder / "shots"
    relay = [sys.executable, str(Path(__file__).with_name("relay.py")), str(pipe), str(delay), *through, *studio]
    look = ["-xrm", "XTerm*numColorRegisters: 256", "-xrm", "XTerm*allowWindowOps: true", "-tn", "xterm-256color", "-bg", "black"]
    environment = {**os.environ, "DISPLAY": display, "VCD_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    environment |= {"COLORTERM": "truecolor", "TMUX": "", "LANG": "C.UTF-8"}
    command = ["xterm", *options, *look, "-geometry", "100x34", "-e", *relay]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shots.mkdir()
    return process, Terminal(display, pipe, shots)


class Terminal:
    """One xterm with the studio in it."""

    def __init__(self, display: str, pipe: Path, shots: Path) -> None:
        self._display, self._pipe, self._shots = display, pipe, shots
        self._numbers = itertools.count()

    def press(self, keys: str) -> None:
        with self._pipe.open("wb", buffering=0) as pipe:
            pipe.write(keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        self.press(f"\0\x1b[8;{rows};{columns}t")

    def until_copied(self, words: str, selection: str) -> None:
        """The terminal's clipboard ("c"), or what it has selected ("s0"), asked for again and again (OSC 52), is exactly these words.

        xterm 379 was seen to end when it was asked for a clipboard that nobody had filled yet.
        """
        end, answer, found = time.monotonic() + SECONDS, self._pipe.with_suffix(".clipboard"), b""
        while time.monotonic() < end:
            self.press(f"\0\x1b]52;{selection};?\x07")
            found = answer.read_bytes() if answer.exists() else b""
            if base64.b64encode(words.encode()) in found:
                return
            time.sleep(0.2)  # the answer comes by way of the terminal
        raise AssertionError(f"never in the clipboard: {words!r}; it said {found!r}")

    def shot(self) -> Shot:
        """(height, width, 3), 0..255."""
        path = self._shots / f"{next(self._numbers):03d}.png"
        subprocess.run(["import", "-display", self._display, "-window", "root", str(path)], check=True, capture_output=True)
        return np.asarray(Image.open(path).convert("RGB"), np.int16)

    def until(self, true: Callable[[Shot], bool], what: str) -> Shot:
        """The first screenshot of which it is so, twice in a row: what is still being painted is not it."""
        end, before = time.monotonic() + SECONDS, None
        while time.monotonic() < end:
            shot = self.shot()
            if true(shot) and before is not None and np.array_equal(shot, before):
                return shot
            before = shot
        raise AssertionError(f"never seen: {what} (screenshots in {self._shots})")


def subject(shot: Shot) -> NDArray[np.bool_]:
    """Where the subject's colour is."""
    return near(shot, SUBJECT)


def near(shot: Shot, colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Where it has this colour, as exactly as a terminal's 256 registers have it."""
    return (np.abs(shot - np.array(colour)) < 20).all(-1)


def is_pixels(shot: Shot, cell: int) -> bool:
    """Whether the subject was drawn in pixels: its edges lie anywhere, those of half-cells on the cells' borders alone."""
    found = subject(shot)
    edges = np.nonzero(found[:, 1:] != found[:, :-1])[1] + 1
    return len(edges) > 0 and len(set((edges % cell).tolist())) > 2
