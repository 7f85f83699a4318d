"""What this terminal can show. Asked once, before the app starts: afterwards textual reads every key and answer itself."""

import math
import os
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fcntl import ioctl
from struct import unpack
from typing import Literal, cast

Graphics = Literal["sixel", "kitty", "halfcell", "off"]
GRAPHICS = ("auto", "sixel", "kitty", "halfcell", "off")
TMUX_SECONDS = 5.0
PROBE_SECONDS = 1.5  # an SSH round trip is easily longer than the 0.1 s that textual-image waits

_KITTY_QUERY = "\x1b_Gi=4211,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
_CELL_QUERY = "\x1b[16t"
_ATTRIBUTES_QUERY = "\x1b[c"  # every terminal answers this one, so its answer ends the wait
_ATTRIBUTES = re.compile(r"\x1b\[\?([\d;]*)c")
_CELL = re.compile(r"\x1b\[6;(\d+);(\d+)t")


@dataclass(frozen=True)
class Terminal:
    """How pictures are drawn, and the size of one cell in pixels.

    ``round_trip``: seconds until the terminal answered, infinite where it did not; None where it was not asked.
    """

    graphics: Graphics
    cell_width: int = 10
    cell_height: int = 20
    round_trip: float | None = field(default=None, compare=False)


def look(graphics: str = "auto", seconds: float = PROBE_SECONDS) -> Terminal:
    """Ask the terminal on stdin/stdout; `graphics` other than auto decides the mode and asks only for the cell's size."""
    stdin, stdout = sys.__stdin__, sys.__stdout__
    if stdin is None or stdout is None or not (stdin.isatty() and stdout.isatty()):
        return Terminal("halfcell" if graphics == "auto" else cast(Graphics, graphics))
    width, height = _cell_by_ioctl(stdout.fileno())
    if graphics in ("off", "halfcell"):
        return Terminal(cast(Graphics, graphics), width or 10, height or 20)
    asked = time.monotonic()
    answer = _ask(_KITTY_QUERY + _CELL_QUERY + _ATTRIBUTES_QUERY, seconds)
    round_trip = time.monotonic() - asked if _ATTRIBUTES.search(answer) else math.inf
    if (cell := _CELL.search(answer)) and not (width and height):
        height, width = int(cell[1]), int(cell[2])
    mode = _best(answer) if graphics == "auto" else cast(Graphics, graphics)
    return Terminal(mode, width or 10, height or 20, round_trip)


def copy_through_tmux(text: str) -> bool:
    """Into a buffer of the tmux around us, which passes its own buffers on to its terminal's clipboard; False where it cannot.

    Copies that programs send themselves (OSC 52) it keeps from the terminal, unless ``set -g set-clipboard on`` allows them.
    """
    import subprocess

    try:
        command = ["tmux", "load-buffer", "-w", "-"]
        ended = subprocess.run(command, input=text.encode(), capture_output=True, timeout=TMUX_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0


def _best(answer: str) -> Graphics:
    attributes = _ATTRIBUTES.search(answer)
    if attributes and "4" in attributes[1].split(";"):
        return "sixel"
    return "kitty" if "\x1b_G" in answer and ";OK\x1b\\" in answer else "halfcell"


def _cell_by_ioctl(descriptor: int) -> tuple[int, int]:
    try:
        rows, columns, width, height = unpack("HHHH", ioctl(descriptor, termios.TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return 0, 0
    return (width // columns, height // rows) if rows and columns else (0, 0)


def _ask(query: str, seconds: float) -> str:
    """Write the query and read until the terminal's attributes have come, or the time is over."""
    stdin, stdout = sys.__stdin__, sys.__stdout__
    assert stdin is not None
    assert stdout is not None
    answer, end = "", time.monotonic() + seconds
    with _unbuffered(stdin.fileno()):
        stdout.write(query)
        stdout.flush()
        while not _ATTRIBUTES.search(answer) and (left := end - time.monotonic()) > 0:
            if select.select([stdin.fileno()], [], [], left)[0]:
                answer += os.read(stdin.fileno(), 4096).decode("ascii", "replace")
    return answer


@contextmanager
def _unbuffered(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
