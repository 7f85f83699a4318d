"""The queue kept in memory: each look reads only what has changed since the last, so that it costs as much as that is."""

from __future__ import annotations

from vcd_studio.collector import let_stay, uncollected
from vcd_studio.jobs.model import Job, Stage
from vcd_studio.jobs.store import Store


class Mirror:
    """All jobs of a store, in its order, and their stages. What did not change stays the very same object."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.jobs: tuple[Job, ...] = ()
        self.stages: dict[int, tuple[Stage, ...]] = {}
        self._places: dict[int, int] = {}
        self._change = -1

    def look(self) -> None:
        """Bring ``jobs`` and ``stages`` up to date. They are new objects then: older ones may be kept by whoever holds them."""
        now = self.store.change()  # asked first: what changes meanwhile is read again at the next look
        with uncollected():
            changed = {job.id: job for job in self.store.changed_jobs(self._change)}
            found = self.store.all_stages(changed)
            let_stay(len(changed))
        gone = self.store.count() != len(self.jobs)
        if changed:
            self.stages = self.stages | {job: tuple(stages) for job, stages in found.items()}
        if gone or any(self._moved(job) for job in changed.values()):
            self._put_in_order(changed)
        elif changed:
            jobs = list(self.jobs)
            for job in changed.values():
                jobs[self._places[job.id]] = job
            self.jobs = tuple(jobs)
        self._change = now

    def _moved(self, job: Job) -> bool:
        """Whether the job is new, or something that its place depends on is not what it was."""
        place = self._places.get(job.id)
        return place is None or _place(self.jobs[place]) != _place(job)

    def _put_in_order(self, changed: dict[int, Job]) -> None:
        known = {job.id: job for job in self.jobs} | changed
        self.jobs = tuple(known[number] for number in self.store.order() if number in known)  # one that came meanwhile is read next time
        self._places = {job.id: place for place, job in enumerate(self.jobs)}
        self.stages = {job.id: self.stages[job.id] for job in self.jobs}


def _place(job: Job) -> tuple[object, ...]:
    return job.state, job.priority, job.position, job.finished
