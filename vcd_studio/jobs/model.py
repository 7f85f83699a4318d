"""What the queue holds, as plain values. Times are aware datetimes in UTC; steps are counts; rates are steps per second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

JobKind = Literal["segment", "train", "generate", "evaluate"]
JobState = Literal["queued", "running", "paused", "done", "failed", "cancelled", "set-aside"]
StageState = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
Outcome = Literal["running", "done", "failed", "cancelled", "paused", "requeued", "crashed"]
Level = Literal["info", "warning", "error"]
Request = Literal["cancel", "pause"]

CLUSTERS = ("slurm",)
"""Devices that are many machines: a relay takes their jobs, and theirs alone, and the cluster's nodes do them."""
JOB_STATES: tuple[JobState, ...] = get_args(JobState)
FINISHED: tuple[JobState, ...] = ("done", "failed", "cancelled", "set-aside")
"""The states that clear_finished() removes and that nothing but retry() leaves."""
HIGHEST_PRIORITY = 99
"""And the lowest is as far below 0, the usual one."""


@dataclass(frozen=True)
class WorkerId:
    """One worker process, told apart from any later one with the same pid, and from one before a reboot."""

    pid: int
    start: str
    """The process's start time as the system counts it."""
    boot: str
    """The machine's boot id."""


@dataclass(frozen=True)
class Job:
    """One thing to do, with a full snapshot of its settings taken when it was enqueued."""

    id: int
    kind: JobKind
    project: Path
    title: str
    state: JobState
    priority: int
    position: int
    batch: str | None
    settings: dict[str, Any]
    device: str | None
    """The device it must run on; None for any."""
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    error: str | None = None
    """One sentence a person can act on."""
    traceback: str | None = None
    result: dict[str, Any] = field(default_factory=dict)
    """What came out: {"clip": folder}, {"run": folder}, {"masks": [...]}, {"report": file}."""
    request: Request | None = None
    """What a person asked of the running job and the worker has not yet done."""
    crashes: int = 0

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED

    @property
    def seconds(self) -> float | None:
        """From first start to finish; None until both are known."""
        return (self.finished - self.started).total_seconds() if self.started and self.finished else None


@dataclass(frozen=True)
class Stage:
    """One part of a job. Its artefact is what a later worker goes on from."""

    id: int
    job_id: int
    name: str
    position: int
    state: StageState
    step: int
    steps: int
    rate: float | None
    """Steps per second, smoothed; None until two steps were seen."""
    started: datetime | None = None
    finished: datetime | None = None
    message: str | None = None
    artefact: str | None = None
    preview: str | None = None

    @property
    def progress(self) -> float:
        """0..1"""
        if self.state == "done":
            return 1.0
        return min(self.step / self.steps, 1.0) if self.steps else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds to go at the present rate; None when unknown or not running."""
        if self.state != "running" or not self.rate or not self.steps:
            return None
        return max(self.steps - self.step, 0) / self.rate

    @property
    def seconds(self) -> float | None:
        return (self.finished - self.started).total_seconds() if self.started and self.finished else None


@dataclass(frozen=True)
class Attempt:
    """One worker's try at a job."""

    id: int
    job_id: int
    worker: WorkerId
    device: str
    started: datetime
    finished: datetime | None
    outcome: Outcome
    reason: str | None


@dataclass(frozen=True)
class Event:
    """One line of a job's log."""

    id: int
    job_id: int
    time: datetime
    level: Level
    text: str


def job_progress(stages: Sequence[Stage]) -> float:
    """0..1 over all stages of one job, each counting the same."""
    return sum(stage.progress for stage in stages) / len(stages) if stages else 0.0


def current_stage(stages: Sequence[Stage]) -> Stage | None:
    """The stage at work, else the first unfinished one, else the last."""
    for wanted in ("running", "failed", "paused", "queued", "cancelled"):
        for stage in stages:
            if stage.state == wanted:
                return stage
    return stages[-1] if stages else None
