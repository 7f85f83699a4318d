"""What a running stage sees of the worker: its job, its progress, its log, the loaded networks, and when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vcd_studio.jobs.model import Job, Level, Stage
from vcd_studio.jobs.store import Store
from vcd_studio.project.text import plain
from vcd_studio.worker.interrupts import Interrupted
from vcd_studio.worker.ladder import Shape

if TYPE_CHECKING:
    from vcd_studio.project.project import Project
    from vcd_studio.worker.networks import NetworkKeeper

TICK = 0.1
"""Seconds between two progress writes; the first and the last step are always written."""


@dataclass
class StageContext:
    """One stage's view. A stage function takes it and returns its artefact (a path), or None."""

    store: Store
    job: Job
    stage: Stage
    device: str
    networks: NetworkKeeper
    stopping: Callable[[], bool]
    replaceable: bool = False
    """Whether this process has done other work before, and would be started again if it ended."""
    shape: Shape | None = None
    """What the stage is working on, once it knows."""
    _written: float = field(default=0.0, init=False)

    @cached_property
    def project(self) -> Project:
        from vcd_studio.project.project import Project

        return Project.open(self.job.project)

    @property
    def settings(self) -> dict[str, Any]:
        """The job's snapshot."""
        return self.job.settings

    @property
    def result(self) -> dict[str, Any]:
        """What the job has brought so far, in this attempt or an earlier one."""
        return self.store.job(self.job.id).result

    def note(self, **values: Any) -> None:
        """Add to the job's result."""
        self.store.update_result(self.job.id, values)

    def report(self, **values: Any) -> None:
        """What this stage found out (faces, seam score …), for the clip's recipe."""
        self.note(reports={**self.result.get("reports", {}), self.stage.name: values})

    def log(self, text: str, level: Level = "info") -> None:
        """A line for a person: into the job's log, and the worker's own."""
        line = f"{self.stage.name}: {plain(text)}"
        self.store.log(self.job.id, level, line)
        print(f"job {self.job.id} · {line}", flush=True)

    def step(self, step: int, steps: int, message: str | None = None, preview: str | None = None) -> None:
        """``step`` of ``steps`` are done. Raises Interrupted when a person or the system wants the worker to stop here."""
        now = time.monotonic()
        if now - self._written >= TICK or step in (0, 1, steps) or message or preview:
            self.store.progress(self.stage.id, step, steps, message, preview)
            self._written = now
        self.check()

    def check(self) -> None:
        """Raises Interrupted when the job shall not go on now."""
        request = self.store.requested(self.job.id)
        if request == "cancel":
            raise Interrupted("cancelled", "cancelled by a person")
        if request == "pause":
            raise Interrupted("paused", "paused by a person")
        if self.stopping():
            raise Interrupted("queued", "the worker was asked to end")

    def artefact_before(self) -> Path | None:
        """The artefact of the last finished stage before this one."""
        before = [s for s in self.store.stages(self.job.id) if s.position < self.stage.position and s.state == "done" and s.artefact]
        return Path(before[-1].artefact or "") if before else None
