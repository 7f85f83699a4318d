"""Jobs that were enqueued together are a batch: which of them a verb fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from vcd_studio.jobs.model import Job, JobState
from vcd_studio.jobs.store import Store
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted

Verb = Literal["cancel", "pause", "resume", "retry", "move", "priority"]

CHANGES: Mapping[Verb, tuple[JobState, ...]] = {
    "cancel": ("running", "queued", "paused", "set-aside"),
    "pause": ("running", "queued"),
    "resume": ("paused",),
    "retry": ("failed", "cancelled", "set-aside"),
    "move": ("queued", "paused"),
    "priority": ("running", "queued", "paused"),
}
"""The states in which a job is changed by a verb."""


def fitting(jobs: Iterable[Job], verb: Verb) -> list[Job]:
    """Those of the jobs that the verb would change, as they were enqueued; a running one that was asked to pause can be asked to go on."""
    fit = [job for job in jobs if (job.request is None and job.state in CHANGES[verb]) or _takes_back(job, verb)]
    return sorted(fit, key=lambda job: job.id)


def _takes_back(job: Job, verb: Verb) -> bool:
    return job.request is not None and (verb == "priority" or (job.request == "pause" and verb in ("cancel", "resume")))


def of_batch(store: Store, batch: str, verb: Verb) -> list[Job]:
    """The jobs of a batch that the verb fits. InputError where there is no such batch, or none of its jobs is one."""
    jobs = store.jobs(batch=batch)
    if not jobs:
        raise InputError(f"There is no batch {quoted(batch)} in the queue; `vcd-studio queue list` shows those there are.")
    if not (fit := fitting(jobs, verb)):
        states = ", ".join(sorted({job.state for job in jobs}))
        raise InputError(f"None of the {len(jobs)} jobs of batch {quoted(batch)} is one for {verb}; they are {states}.")
    return fit
