"""Looking after the queue from a thread: four times a second one cheap question, and a snapshot only where something changed."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vcd_studio.project.errors import InputError
from vcd_studio.tui.messages import Snapshot

if TYPE_CHECKING:
    from vcd_studio.jobs.mirror import Mirror
    from vcd_studio.jobs.store import Store
    from vcd_studio.jobs.workers import WorkerStatus
    from vcd_studio.tui.widgets.queue.left import Estimates

EVERY = 0.25  # seconds between two questions
WORKERS_EVERY = 4  # workers are looked at each fourth time: that costs files and /proc


class Workers(Protocol):
    """What the screens ask of worker processes; the module `vcd_studio.jobs.workers` is one."""

    def status(self) -> "list[WorkerStatus]":
        """Every worker known, alive or dead."""

    def start(self, device: str = "auto") -> object:
        """Start one, detached."""

    def stop(self, device: str | None = None) -> object:
        """Ask one (or all) to end after its step."""

    def ensure_running(self, device: str = "auto") -> object:
        """Start one unless one is there."""

    def recover(self, store: "Store") -> object:
        """Take back the running jobs of workers that ended without a word."""


class Queue:
    """The store, opened on first use (on a thread), and the workers behind it."""

    def __init__(self, path: Path | None = None, workers: Workers | None = None) -> None:
        self._path = path
        self._workers = workers
        self._store: Store | None = None
        self._lock = threading.Lock()

    @property
    def store(self) -> "Store":
        """The one store of this app; raises InputError where it cannot be opened."""
        with self._lock:
            if self._store is None:
                from vcd_studio.jobs.store import Store

                self._store = Store(self._path)
            return self._store

    @property
    def workers(self) -> Workers:
        """The worker processes."""
        if self._workers is None:
            from vcd_studio.jobs import workers

            self._workers = workers
        return self._workers

    def close(self) -> None:
        """Close the store if it was opened."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


def snapshot(mirror: "Mirror", workers: "tuple[WorkerStatus, ...]", estimates: "Estimates") -> Snapshot:
    """Everything the screens show of the queue; read of it is what has changed."""
    mirror.look()
    left = estimates.left(mirror.store, mirror.jobs, mirror.stages, sum(worker.state != "dead" for worker in workers))
    return Snapshot(mirror.jobs, mirror.stages, workers, left)


def watch(queue: Queue, tell: Callable[[Snapshot], object], stop: threading.Event) -> None:
    """Until `stop` is set: tell every change. An error is told once and then tried again.

    At the first look, and whenever the workers are not what they were, jobs left by dead ones are taken back: no screen says running
    of a job that nobody runs.
    """
    from vcd_studio.jobs.mirror import Mirror
    from vcd_studio.tui.widgets.queue.left import Estimates

    estimates = Estimates()
    mirror: Mirror | None = None
    seen: object = None
    workers: tuple[WorkerStatus, ...] | None = None
    turn = 0
    while not stop.is_set():
        try:
            if turn % WORKERS_EVERY == 0:
                found = tuple(queue.workers.status())
                if found != workers:
                    queue.workers.recover(queue.store)
                workers = found
            now: object = (queue.store.changed_since(), workers)
            if now != seen:
                mirror = mirror or Mirror(queue.store)
                tell(snapshot(mirror, workers or (), estimates))
        except (InputError, OSError, sqlite3.Error) as error:
            now = str(error)
            if now != seen and not stop.is_set():
                tell(Snapshot(error=f"The queue cannot be read: {error}"))
        seen = now
        turn += 1
        stop.wait(EVERY)
