"""A device is one worker's for life: an flock on its lock file, which the kernel lets go of however the worker ends."""

from __future__ import annotations

import fcntl
import os
import select
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.processes import is_alive, this_process
from vcd_studio.jobs.workers import Holder, WorkerRunning, already_running, lock_path, read_lock, wake_path, write_lock
from vcd_studio.project.errors import InputError
from vcd_studio.project.paths import reason
from vcd_studio.project.text import plain

NAME_SECONDS = 5.0
"""How long one that has just taken the device may need to write its name."""


class Lease:
    """``with Lease("cpu") as lease:`` holds the device; WorkerRunning names the process that already does.

    ``keeper``: who starts this process again if it dies.
    """

    def __init__(self, device: str, keeper: WorkerId | None = None) -> None:
        self.device = device
        self.keeper = keeper
        self.path = lock_path(device)
        self.worker: WorkerId = this_process()
        self._descriptor = -1

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_lock(self._descriptor, Holder(self.worker, self.device, self.keeper))
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise self._taken() from error
        except OSError as error:
            raise _unwritable(self.path, error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:  # a clean end leaves no name behind
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    @property
    def is_kept(self) -> bool:
        """Whether the keeper still lives."""
        return self.keeper is not None and is_alive(self.keeper)

    def _taken(self) -> WorkerRunning:
        """Names the holder, once it has written its name."""
        until = time.monotonic() + NAME_SECONDS
        while time.monotonic() < until:
            holder = read_lock(self.path)
            if holder and is_alive(holder.worker):
                return already_running(self.device, holder.worker.pid)
            time.sleep(0.02)
        return WorkerRunning(f"{self.device} is held by a process that does not name itself in {plain(str(self.path))}; try again.")


class WakeUp:
    """A FIFO that others write a byte into when there is something to do."""

    def __init__(self, device: str) -> None:
        self.path = wake_path(device)

    def __enter__(self) -> Self:
        try:
            self.path.unlink(missing_ok=True)
            os.mkfifo(self.path, 0o600)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # also a writer: never at its end
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(FileNotFoundError):
            self.path.unlink()
        os.close(self._descriptor)

    def wait(self, seconds: float) -> None:
        """Until somebody rings, at most this long."""
        if select.select([self._descriptor], [], [], seconds)[0]:
            with suppress(BlockingIOError):
                os.read(self._descriptor, 65536)

    def ring(self) -> None:
        """From a signal handler of this process."""
        with suppress(BlockingIOError):
            os.write(self._descriptor, b"\n")


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{plain(str(path))} cannot be written ({reason(error)}); free some space, or set VCD_HOME to a folder you own.")
