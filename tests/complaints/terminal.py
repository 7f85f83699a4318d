"""A terminal without a screen: what the program writes is kept as bytes, and as what a person would see of them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence

PATIENCE = 120.0
_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[P\]_^X][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class Terminal:
    """One program in it, from its start to its end."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], columns: int = 100, rows: int = 30) -> None:
        told = {**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], list(command), told)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, columns * 8, rows * 18))
        self.written = b""
        self.ended: int | None = None

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def read(self) -> bool:
        """Take in what comes within a moment; False when the program has ended."""
        if self.ended is not None:
            return False
        if select.select([self._master], [], [], 0.1)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the program has let go of its terminal
                data = b""
            self.written += data
            if not data:
                self.ended = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.ended is None

    def until(self, text: str, since: int = 0) -> None:
        """Until this was written, escapes left out; ``since``: only what came after so many bytes."""
        self._until(lambda: text in self.text(since), text)

    def until_bytes(self, data: bytes, since: int = 0) -> None:
        self._until(lambda: data in self.written[since:], repr(data))

    def _until(self, true: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, f"never written: {what}\n{self.text()[-3000:]}"
            if not self.read():
                assert true(), f"ended before it wrote {what}\n{self.text()[-3000:]}"
                return

    def text(self, since: int = 0) -> str:
        return _ESCAPE.sub(b"", self.written[since:]).decode("utf-8", "replace")

    def ends(self) -> int:
        """Its exit code, once it has ended by itself."""
        end = time.monotonic() + PATIENCE
        while self.read():
            assert time.monotonic() < end, f"it hangs:\n{self.text()[-3000:]}"
        assert self.ended is not None
        return self.ended

    def hang_up(self) -> None:
        """The line goes dead: its program gets a SIGHUP, as when SSH drops."""
        if self._master < 0:
            return
        os.close(self._master)
        self._master = -1
        if self.ended is None:
            process = os.pidfd_open(self.pid)
            signal.pidfd_send_signal(process, signal.SIGHUP)
            if not select.select([process], [], [], PATIENCE)[0]:
                signal.pidfd_send_signal(process, signal.SIGKILL)
            os.close(process)
            os.waitpid(self.pid, 0)
            self.ended = -signal.SIGHUP
