"""Why a job stops between two steps without having failed."""

from __future__ import annotations

from vcd_studio.jobs.model import JobState


class Interrupted(Exception):
    """Stop between two steps. ``state`` is where the job goes: "queued" (the worker ends), "paused" or "cancelled"."""

    def __init__(self, state: JobState, reason: str) -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason


class FreshProcess(Interrupted):
    """The job goes back into the line and this process ends, so that another one goes on."""

    def __init__(self) -> None:
        super().__init__("queued", "not enough memory in this process: a fresh one goes on")
