"""Runs a program in a terminal of its own between it and the real one: keys come also from a pipe, and everything may take its time.

    relay.py PIPE SECONDS COMMAND [ARG …]

What the terminal answers to a question about its clipboard goes into PIPE.clipboard and to nobody else.
What is written into PIPE goes to the program as if it was typed; a line that begins with NUL goes to the terminal instead (for its own
escapes, as the one that resizes it). Each way takes SECONDS, as over a slow line.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import selectors
import signal
import sys
import termios
import time
import tty
from collections import deque
from pathlib import Path

CHUNK = 65536
CLIPBOARD = re.compile(rb"\x1b\]52;[^\x07\x1b]*(\x07|\x1b\\\\|\Z)")
"""The terminal's answer on its clipboard; without its end as long as that has not come."""


class Line:
    """Bytes on their way to a descriptor, each chunk delivered ``delay`` seconds after it was sent."""

    def __init__(self, target: int, delay: float) -> None:
        self._target, self._delay = target, delay
        self._under_way: deque[tuple[float, bytes]] = deque()

    def send(self, data: bytes) -> None:
        self._under_way.append((time.monotonic() + self._delay, data))

    def deliver(self) -> None:
        while self._under_way and self._under_way[0][0] <= time.monotonic():
            data = self._under_way.popleft()[1]
            while data:
                data = data[os.write(self._target, data) :]

    @property
    def wait(self) -> float | None:
        """Seconds until the next chunk is due; None where none is under way."""
        return max(0.0, self._under_way[0][0] - time.monotonic()) if self._under_way else None


def run(pipe: Path, delay: float, command: list[str]) -> int:
    os.mkfifo(pipe)
    child, program = pty.fork()
    if child == 0:
        os.execvp(command[0], command)
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    before = termios.tcgetattr(stdin)
    tty.setraw(stdin)

    def resize(*_: object) -> None:
        fcntl.ioctl(program, termios.TIOCSWINSZ, fcntl.ioctl(stdin, termios.TIOCGWINSZ, b"\0" * 8))

    resize()
    signal.signal(signal.SIGWINCH, resize)
    keys = os.open(pipe, os.O_RDWR)  # for writing too, so that it never ends
    there, back = Line(program, delay), Line(stdout, delay)
    answers, begun = pipe.with_suffix(".clipboard"), b""
    watched = selectors.DefaultSelector()
    for descriptor in (stdin, program, keys):
        watched.register(descriptor, selectors.EVENT_READ)
    try:
        while True:
            waits = [line.wait for line in (there, back) if line.wait is not None]
            for key, _ in watched.select(min(waits, default=None)):
                try:
                    data = os.read(key.fd, CHUNK)
                except OSError:  # the program has ended
                    data = b""
                if not data:
                    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                if key.fd == stdin:  # answers on the clipboard are the test's, all else is the program's
                    data, found = begun + data, CLIPBOARD.search(begun + data)
                    begun = b""
                    while found:
                        data = data[: found.start()] + data[found.end() :]
                        if found[1]:
                            answers.write_bytes(found[0])
                        else:
                            begun = found[0]
                        found = CLIPBOARD.search(data)
                    there.send(data)
                elif key.fd == program:
                    back.send(data)
                elif data.startswith(b"\0"):
                    os.write(stdout, data[1:])
                else:
                    there.send(data)
            there.deliver()
            back.deliver()
    finally:
        termios.tcsetattr(stdin, termios.TCSANOW, before)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
