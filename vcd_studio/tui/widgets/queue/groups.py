"""The lines of the queue: jobs that were enqueued together are one, be there four of them or ten thousand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vcd_studio.jobs.model import Job, JobState

MOST = 400  # lines on the tree at once: more of them nobody reads, and a filter finds the others


@dataclass(frozen=True)
class Group:
    """One line: a job, or those of a batch, in the order of the queue. `of`: how many the batch has, be they found by a filter or not."""

    jobs: "tuple[Job, ...]"
    of: int = 1

    @property
    def batch(self) -> str | None:
        """The batch that opens into jobs; None for a job alone."""
        return self.jobs[0].batch if self.of > 1 else None

    @property
    def state(self) -> "JobState":
        """That of its first job; where all have ended, failed where one has."""
        states = {job.state for job in self.jobs} if self.is_finished else set()
        return next((state for state in ("failed", "set-aside", "done") if state in states), self.jobs[0].state)

    @property
    def is_finished(self) -> bool:
        """Whether all its jobs have ended: those that have not come first."""
        return self.jobs[0].is_finished


def batch_sizes(jobs: "Sequence[Job]") -> Mapping[str, int]:
    """How many jobs each batch has."""
    return Counter(job.batch for job in jobs if job.batch)


def grouped(jobs: "Sequence[Job]", sizes: Mapping[str, int]) -> list[Group]:
    """The jobs as lines, each where its first job stands; of too many lines those that matter first."""
    found: dict[str | int, list[Job]] = {}
    for job in jobs:
        if job.batch in found:
            found[job.batch].append(job)
        else:
            found[job.batch or job.id] = [job]
    return [Group(tuple(together), sizes.get(together[0].batch or "", 1)) for together in _shortened(list(found.values()))]


def _shortened(lines: "Sequence[Sequence[Job]]") -> "Sequence[Sequence[Job]]":
    """What runs, the front of the line, and what ended last."""
    if len(lines) <= MOST:
        return lines
    ended = next((at for at, jobs in enumerate(lines) if jobs[0].is_finished), len(lines))
    front = min(ended, max(MOST // 2, MOST - (len(lines) - ended)))
    return [*lines[:front], *lines[ended : ended + MOST - front]]
