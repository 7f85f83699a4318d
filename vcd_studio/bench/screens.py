"""The studio's screens as a process of its own, in a terminal that nobody sees: keys go in, and what is drawn comes out."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

ROWS, COLUMNS = 40, 120
CELL = 10, 20
"""Width and height of a cell in pixels."""
QUIET = 0.1
"""Seconds without a byte after which an answer has been drawn."""
PICTURES_QUIET = 0.5
"""The same where pictures follow the words."""
PATIENCE = 60.0
_WHO = b"\x1b[c"
_ESCAPES = re.compile(rb"\x1bP.*?\x1b\\|\x1b\[[0-9;?=>$]*[ -/]*[@-~]", re.DOTALL)


class Screens:
    """``vcd-studio --graphics MODE`` at ``began`` (``time.perf_counter``); ended with the ``with`` block."""

    def __init__(self, project: Path | None = None, graphics: str = "off") -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, COLUMNS * CELL[0], ROWS * CELL[1]))
        command = [sys.executable, "-m", "vcd_studio.cli", "--graphics", graphics, *(["--project", str(project)] if project else [])]
        self._drawn = b""
        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm-256color"}, start_new_session=True
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def press(self, keys: str) -> float:
        """When that was. What was drawn before is forgotten."""
        self._drawn = b""
        os.write(self._ours, keys.encode())
        return time.perf_counter()

    def shows(self, words: str) -> float:
        """When these words had been drawn since the start, or the last key; RuntimeError where that takes too long."""
        return self._until(lambda: words in self.words, repr(words))

    def answers(self, keys: str, quiet: float = QUIET) -> float:
        """Seconds from these keys until the last of what they changed was drawn; RuntimeError where nothing is."""
        pressed = self.press(keys)
        self._until(lambda: bool(self._drawn), f"an answer to {keys!r}")
        return self.settles(quiet) - pressed

    def settles(self, quiet: float = QUIET) -> float:
        """When the last byte came before it was quiet for so many seconds; now, where it is."""
        last = time.perf_counter()
        while self._listen(quiet):
            last = time.perf_counter()
        return last

    @property
    def words(self) -> str:
        """The text that was drawn since the last key, in the order in which it came."""
        return _ESCAPES.sub(b"", self._drawn).decode(errors="replace")

    def resident(self) -> float:
        """MB of memory."""
        return float(psutil.Process(self._process.pid).memory_info().rss / 1e6)

    def busy(self, seconds: float) -> float:
        """Per cent of one core that it takes while nobody touches it."""
        before, began = self._worked(), time.perf_counter()
        while (left := seconds - (time.perf_counter() - began)) > 0:
            self._listen(left)
        return 100 * (self._worked() - before) / (time.perf_counter() - began)

    def _worked(self) -> float:
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def _until(self, there: Callable[[], bool], what: str) -> float:
        until = time.monotonic() + PATIENCE
        while not there():
            if time.monotonic() > until or not (self._listen(1.0) or self._process.poll() is None):
                raise RuntimeError(f"the screens never showed {what}; they said: {self.words[-2000:]}")
        return time.perf_counter()

    def _listen(self, seconds: float) -> bool:
        """Whether anything came in that time; all there is is taken. Answers the terminal's part when it is asked what it is."""
        came = False
        while select.select([self._ours], [], [], 0.0 if came else max(0.0, seconds))[0]:
            try:
                data = os.read(self._ours, 1 << 16)
            except OSError:  # they have ended
                return came
            if _WHO in data:
                os.write(self._ours, b"\x1b[?62;4c")  # a VT220 that draws sixels
            self._drawn += data
            came = True
        return came
