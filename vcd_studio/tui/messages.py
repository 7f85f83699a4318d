"""Small messages between threads and widgets. Those that carry a state may replace one another, so that bursts become one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from vcd_studio.devices import Reading
    from vcd_studio.jobs.model import Job, Stage
    from vcd_studio.jobs.workers import WorkerStatus
    from vcd_studio.tui.widgets.queue.left import TimeLeft


@dataclass(frozen=True)
class Snapshot:
    """The queue and the workers as they were at one moment; never changed, so any thread may hold it."""

    jobs: "tuple[Job, ...]" = ()
    stages: "dict[int, tuple[Stage, ...]]" = field(default_factory=dict)
    workers: "tuple[WorkerStatus, ...]" = ()
    left: "TimeLeft | None" = None
    error: str | None = None

    def of_project(self, project: Path) -> "list[Job]":
        """The jobs that belong to this project folder."""
        return [job for job in self.jobs if job.project == project]

    def running(self) -> "list[Job]":
        """The jobs some worker holds now."""
        return [job for job in self.jobs if job.state == "running"]


@dataclass
class QueueChanged(Message):
    """The store or a worker's state changed."""

    snapshot: Snapshot

    def can_replace(self, message: Message) -> bool:
        """A newer snapshot makes an older one useless."""
        return isinstance(message, QueueChanged)


@dataclass
class CardsRead(Message):
    """The graphics cards were read once more."""

    reading: "Reading"

    def can_replace(self, message: Message) -> bool:
        """A newer reading makes an older one useless."""
        return isinstance(message, CardsRead)


@dataclass
class FilesChanged(Message):
    """These shown pictures' files were rewritten or vanished (keys of `Picture` widgets' sources)."""

    stale: frozenset[int]
