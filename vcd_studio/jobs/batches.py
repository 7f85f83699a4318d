"""Jobs that were enqueued together are a batch: which of them a verb fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def run_now(store: Store, job_ids: Sequence[int]) -> list[Job]:
    """Waiting jobs next, paused ones too, in the order that they have; what runs is not disturbed."""
    with store.database.write():
        for job_id in job_ids:
            if store.job(job_id).state == "paused":
                store.resume(job_id)
        return store.move_all(job_ids, 0)


def shift(store: Store, job_ids: Sequence[int], by: int, *, whole_batches: bool) -> list[Job]:
    """Waiting jobs past the one before them in the line (``by`` < 0) or after them, or past all of its batch. None at the line's end.

    Paused jobs stand behind the queued ones, as they are listed.
    """
    with store.database.write():
        waiting = store.jobs(states=CHANGES["move"])
        place = _place_past(waiting, [job for job in waiting if job.id in job_ids], by, whole_batches)
        return store.move_all(job_ids, place) if place is not None else []


def _place_past(waiting: Sequence[Job], moving: Sequence[Job], by: int, whole_batches: bool) -> int | None:
    if not moving:
        return None
    line = sorted(waiting, key=lambda job: (-job.priority, job.position, job.id))
    numbers, state = {job.id for job in moving}, moving[0].state
    others = [job for job in line if job.id not in numbers]
    first = next(place for place, job in enumerate(line) if job.id in numbers)
    places = [place for place, job in enumerate(others) if job.state == state and (place < first) == (by < 0)]
    if not places:
        return None
    passed = others[places[-1] if by < 0 else places[0]]
    together = [place for place in places if whole_batches and passed.batch and others[place].batch == passed.batch]
    return min(together or places[-1:]) if by < 0 else max(together or places[:1]) + 1
