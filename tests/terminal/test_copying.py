"""What y copies is in the clipboard of a real xterm, through tmux too, as tmux is set up and as its users are told to set it up."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.terminal.test_pictures_in_xterm import shown
from tests.terminal.xterm import SIXEL, Terminal
from vcd_studio.project.project import Project

pytestmark = pytest.mark.slow


def copied(film: Project) -> str:
    """The path of the photo under the cursor."""
    return str(film.identity("rex").photos()[0].path)


def test_into_the_clipboard_of_the_terminal(terminal: Callable[..., Terminal], film: Project) -> None:
    xterm = terminal(*SIXEL)
    before = xterm.until(shown, "the photo")
    xterm.press("y")
    xterm.until(lambda shot: not np.array_equal(shot, before), "the word that it was copied")
    xterm.until_copied(copied(film), "c")


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """A tmux of its own, as it comes."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux not installed")
    socket = tmp_path / "tmux"
    command = ("tmux", "-S", str(socket), "-f", "/dev/null")
    yield command
    if socket.exists():  # not where there is no xterm to begin it in
        subprocess.run([*command, "kill-server"], check=True)


@pytest.mark.parametrize("clipboard", ["external", "on"])
def test_through_tmux(clipboard: str, tmux: tuple[str, ...], terminal: Callable[..., Terminal], film: Project) -> None:
    """"external" is what tmux comes with: it passes its own buffers on, and nothing that programs send."""
    xterm = terminal(*SIXEL, through=(*tmux, "set", "-g", "set-clipboard", clipboard, ";", "new-session"))
    xterm.until(shown, "the photo")
    xterm.press("y")
    xterm.until_copied(copied(film), "s0")  # where tmux puts it
    buffer = subprocess.run([*tmux, "show-buffer"], check=True, capture_output=True, text=True).stdout
    assert buffer == copied(film)
