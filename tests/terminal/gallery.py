"""``python -m tests.terminal.gallery PROJECT FOLDER``: every screen as a real xterm shows it, a PNG each, with the home of ``VCD_HOME``."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tests.terminal.xterm import SIXEL, Shot, Terminal, new_display, open_xterm

SCREENS = {
    "1-projects": "1",
    "2-identity": "2]",
    "3-prompts": "3",
    "4-queue": "4",
    "5-clips": "5",
    "5-clip": "\r",
    "6-models": "6",
    "7-doctor": "7",
    "help": "?",
}
"""What is pressed, one after the other, to come to each."""
CALM = 4.0
"""Seconds without a change after which a screen is taken to be complete."""


def settled(xterm: Terminal) -> Shot:
    """The screen, once it has not changed for a while."""
    shot, since = xterm.shot(), time.monotonic()
    while time.monotonic() - since < CALM:
        now = xterm.shot()
        if not np.array_equal(now, shot):
            shot, since = now, time.monotonic()
    return shot


def main(project: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with new_display("604x446") as display, tempfile.TemporaryDirectory() as own:
        process, xterm = open_xterm(display, project, Path(os.environ["VCD_HOME"]), Path(own), *SIXEL)
        try:
            settled(xterm)
            for name, keys in SCREENS.items():
                xterm.press(keys)
                Image.fromarray(settled(xterm).astype(np.uint8)).quantize(256).save(folder / f"{name}.png", optimize=True)
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
