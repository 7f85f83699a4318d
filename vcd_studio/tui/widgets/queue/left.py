"""How long the whole queue will take: what runs by its rate, what waits by what jobs like it took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vcd_studio.jobs.model import job_progress
from vcd_studio.tui.widgets.chrome.bars import clock

if TYPE_CHECKING:
    from vcd_studio.jobs.model import Job, Stage
    from vcd_studio.jobs.store import Store

Stages = Mapping[int, "Sequence[Stage]"]


@dataclass(frozen=True)
class TimeLeft:
    """Seconds of all running and queued jobs of which something is known, and how many there are of which nothing is.

    `jobs` has the seconds of each of them, None where nothing is known; `workers` share the line, and 0 come nearer to no end.
    """

    seconds: float = 0.0
    unknown: int = 0
    jobs: Mapping[int, float | None] = field(default_factory=dict)
    workers: int = 1

    def of(self, jobs: "Sequence[Job]") -> "TimeLeft | None":
        """That of some jobs, as if they were all of the queue; None where none of them runs or waits."""
        some = {job.id: self.jobs[job.id] for job in jobs if job.id in self.jobs}
        running = [some[job.id] or 0.0 for job in jobs if job.state == "running" and job.id in some]
        return time_left(some, max(running, default=0.0), self.workers) if some else None

    def words(self) -> str:
        """`ETA 4:10`; `ETA > 4:10` where some of it is like nothing done before, `4:10 of work` where nobody is at it."""
        if self.unknown and not self.seconds:
            return "ETA unknown"
        more = "> " if self.unknown else ""
        return f"ETA {more}{clock(self.seconds)}" if self.workers else f"{more}{clock(self.seconds)} of work"


def time_left(jobs: Mapping[int, float | None], longest: float, workers: int) -> TimeLeft:
    """No less than the longest running job needs."""
    known = [seconds for seconds in jobs.values() if seconds is not None]
    return TimeLeft(max(longest, sum(known) / max(1, workers)), len(jobs) - len(known), jobs, workers)


class Estimates:
    """Knows what jobs took; asks the store again only when another job is done, and reckons again only for jobs that changed."""

    def __init__(self) -> None:
        self._done: tuple[int, ...] = ()
        self._clips: dict[tuple[object, ...], float | None] = {}
        self._jobs: dict[int, tuple[Job, Sequence[Stage], float | None]] = {}

    def left(self, store: "Store", jobs: "Sequence[Job]", stages: Stages, workers: int = 1) -> TimeLeft:
        """For `workers` that share the line. Paused jobs are not counted."""
        done = [job for job in jobs if job.state == "done"]
        if self._done != (numbers := tuple(job.id for job in done)):
            self._done, self._clips, self._jobs = numbers, {}, {}
        line: dict[int, float | None] = {}
        longest = 0.0
        for job in jobs:
            if job.state not in ("running", "queued"):
                continue
            parts = stages.get(job.id, ())
            known = self._jobs.get(job.id)
            if known is None or known[0] is not job or known[1] is not parts:
                known = self._jobs[job.id] = job, parts, self._job(store, job, stages, done)
            line[job.id] = known[2]
            if job.state == "running":
                longest = max(longest, known[2] or 0.0)
        return time_left(line, longest, workers)

    def _job(self, store: "Store", job: "Job", stages: Stages, done: "list[Job]") -> float | None:
        unfinished = [stage for stage in stages.get(job.id, ()) if stage.state != "done"]
        at_a_rate = sum(stage.eta for stage in unfinished if stage.eta is not None)
        names = tuple(stage.name for stage in unfinished if stage.eta is None)
        if not names:
            return at_a_rate
        rest = self._clip(store, job, names) if job.kind == "generate" else _like(job, done, stages)
        return None if rest is None else at_a_rate + rest

    def _clip(self, store: "Store", job: "Job", names: tuple[str, ...]) -> float | None:
        from vcd_studio.jobs.estimates import clip_seconds, pack_size  # brings statistics: an empty queue's first paint goes without

        pack, generation = str(job.settings.get("pack", "")), job.settings.get("generation", {})
        key = (pack, names, *(generation.get(name) for name in ("steps", "frames", "width", "height")))
        if key not in self._clips:
            self._clips[key] = clip_seconds(store, names, pack, generation, pack_size(pack))
        return self._clips[key]


def _like(job: "Job", done: "list[Job]", stages: Stages) -> float | None:
    """The rest of a training or segmenting, scaled from finished ones of its sort; None before there is one."""
    from statistics import median

    from vcd_studio.jobs.estimates import RECENT

    alike = [one for one in done if _sort(one) == _sort(job)][:RECENT]
    took = [sum(stage.seconds or 0.0 for stage in stages.get(one.id, ())) / _work(one.settings) for one in alike]
    return median(took) * _work(job.settings) * (1 - job_progress(stages.get(job.id, ()))) if took else None


def _sort(job: "Job") -> tuple[object, ...]:
    """Jobs that are equal in this take time by their `_work` alone."""
    return job.kind, job.settings.get("pack"), job.settings.get("training", {}).get("method", "tokens")


def _work(settings: Mapping[str, Any]) -> float:
    """Proportional to the time, as far as the settings say: pictures seen by a training, photos of a segmenting."""
    if "training" in settings:
        return float(settings["training"].get("steps", 1) * settings["training"].get("batch", 1))
    return float(max(1, len(settings.get("photos", ()))))
