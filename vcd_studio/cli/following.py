"""Watching jobs from the shell: bars with rate and ETA where a person looks on, plain lines otherwise; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import typer

from vcd_studio.cli.answers import duration
from vcd_studio.cli.telling import INTERRUPTED, WORK_FAILED, tell
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import plain

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from vcd_studio.jobs.model import Job, Stage
    from vcd_studio.jobs.store import Store

POLL_SECONDS = 0.15
WORKER_SECONDS = 2.0
"""How often a follower looks whether anybody is at work."""
QUARTERS = 4


class View(Protocol):
    """Shows jobs and their stages, again and again."""

    def show(self, jobs: Sequence[Job], stages: Mapping[int, list[Stage]]) -> None: ...
    def say(self, text: str) -> None: ...


def job_object(job: Job, stages: Sequence[Stage]) -> dict[str, Any]:
    """One job for an answer; times are ISO 8601 UTC, progress goes from 0 to 1."""
    from vcd_studio.jobs.model import current_stage, job_progress

    stage = current_stage(stages)
    return {
        "id": job.id,
        "kind": job.kind,
        "project": str(job.project),
        "title": job.title,
        "state": job.state,
        "request": job.request,
        "stage": stage.name if stage else None,
        "step": stage.step if stage else 0,
        "steps": stage.steps if stage else 0,
        "progress": 1.0 if job.state == "done" else job_progress(stages),
        "rate": stage.rate if stage and stage.state == "running" else None,
        "eta": stage.eta if stage else None,
        "priority": job.priority,
        "batch": job.batch,
        "device": job.device,
        "created": job.created,
        "started": job.started,
        "finished": job.finished,
        "error": job.error,
        "result": job.result,
    }


def need_worker(no_worker: bool, on: str | None = None) -> None:
    """InputError, before anything is enqueued, where a worker could not run at all, or nothing be handed to the cluster ``on``."""
    from importlib.util import find_spec

    if on is not None:
        from vcd_studio.cluster.ready import need_cluster

        need_cluster(on)
    if not no_worker and (find_spec("torch") is None or find_spec("diffusers") is None):
        raise InputError("A worker needs torch and diffusers; pip install 'vcd-studio[diffusion]', or enqueue with --no-worker.")


def start_worker(devices: Collection[str | None] = (None,)) -> None:
    """A worker on each of these devices, unless one is there already. For None any will do; else one on the settings' device starts."""
    from vcd_studio.jobs import workers
    from vcd_studio.settings import load_settings

    for device in sorted(devices, key=lambda device: device or "~"):  # any comes last, when named ones may be there for it
        if not any(worker.state != "dead" and workers.takes(worker.device, device) for worker in workers.status()):
            worker = workers.ensure_running(device or load_settings().device)
            tell(f"Started a worker on {worker.device} (pid {worker.pid}).")


def finish(store: Store, jobs: Sequence[Job], *, follow: bool, no_worker: bool) -> list[Job]:
    """What every enqueuing verb does next: start a worker, then follow, or say where to look. The jobs as they are then.

    Ends the command with exit code 1 when followed work failed; typer.Exit is raised after the reason was told.
    """
    if not no_worker:
        start_worker({job.device for job in jobs})
    if not follow:
        numbers = ", ".join(str(job.id) for job in jobs)
        tell(f"In the queue as job {numbers}; vcd-studio queue list shows how far it is.")
        return list(jobs)
    ended = follow_jobs(store, [job.id for job in jobs])
    unfinished = [job for job in ended if job.state != "done"]
    for job in unfinished:
        tell(f"Job {job.id} ({job.title}) is {job.state}{f': {job.error}' if job.error else ''}")
    if unfinished:
        raise typer.Exit(WORK_FAILED)
    return ended


def follow_jobs(store: Store, ids: Sequence[int]) -> list[Job]:
    """Show the jobs until each has ended, is paused, or nobody works on them any more. Interrupting leaves the work running."""
    view: AbstractContextManager[View] = Bars() if sys.stderr.isatty() else Lines()
    try:
        with view as shown:
            return _watch(store, ids, shown)
    except KeyboardInterrupt:
        tell("The work goes on without you: vcd-studio queue list shows it, vcd-studio queue cancel ID ends it.")
        raise typer.Exit(INTERRUPTED) from None


def _watch(store: Store, ids: Sequence[int], view: View) -> list[Job]:
    seen, jobs, asked = -1, [store.job(number) for number in ids], time.monotonic()
    while True:
        now = store.changed_since()
        if now != seen:
            seen = now
            jobs = [store.job(number) for number in ids]
            view.show(jobs, store.all_stages(ids))
            if all(job.is_finished or job.state == "paused" for job in jobs):
                return jobs
        if time.monotonic() - asked > WORKER_SECONDS:
            asked = time.monotonic()
            if not _somebody_works(view, {job.device for job in jobs if not job.is_finished}):
                return [store.job(number) for number in ids]
        time.sleep(POLL_SECONDS)


def _somebody_works(view: View, devices: Collection[str | None]) -> bool:
    """False where the workers that may take these jobs (by their devices; None: any) were stopped.

    One that died without a word is replaced: the new one takes its job back.
    """
    from vcd_studio.jobs import workers
    from vcd_studio.settings import load_settings

    there = [worker for worker in workers.status() if any(workers.takes(worker.device, device) for device in devices)]
    if any(worker.state != "dead" for worker in there):
        return True
    if not there:
        view.say("No worker runs; vcd-studio worker start goes on with what waits.")
        return False
    view.say(f"The worker (pid {there[0].pid}) ended without a word; starting another.")
    workers.ensure_running(load_settings().device if None in devices else there[0].device)
    return True


class Lines:
    """One line when a stage begins, at each quarter, and when it ends: for logs and pipes."""

    def __init__(self) -> None:
        self._told: dict[int, tuple[str, int]] = {}
        self._jobs: dict[int, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def say(self, text: str) -> None:
        tell(text)

    def show(self, jobs: Sequence[Job], stages: Mapping[int, list[Stage]]) -> None:
        for job in jobs:
            for stage in stages[job.id]:
                quarter = int(stage.progress * QUARTERS)
                if stage.state == "queued" or self._told.get(stage.id) == (stage.state, quarter):
                    continue
                self._told[stage.id] = stage.state, quarter
                tell(f"job {job.id} · {stage.name} · {_words(stage)}")
            if job.state != self._jobs.get(job.id):
                self._jobs[job.id] = job.state
                tell(f"job {job.id} · {job.state} · {job.title}")


def _words(stage: Stage) -> str:
    if stage.state == "done":
        return f"done in {duration(stage.seconds)}"
    if stage.state != "running":
        return stage.state
    left = f", {duration(stage.eta)} to go" if stage.eta is not None else ""
    return f"{stage.step} of {stage.steps}{left}" if stage.steps else "begins"


class Bars:
    """A bar with rate and ETA for each stage of the job at work, and one for the batch where there are several jobs."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[int, TaskID] = {}
        self._batch: TaskID | None = None
        self._ended: set[int] = set()

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description:<12}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[steps]:>11}", markup=False),
            TextColumn("{task.fields[rate]:>12}", markup=False),
            TextColumn("{task.fields[eta]:>12}", markup=False),
            console=Console(stderr=True, markup=False, highlight=False),
            refresh_per_second=8,
        )
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    @property
    def progress(self) -> Progress:
        assert self._progress is not None, "entered first"
        return self._progress

    def say(self, text: str) -> None:
        self.progress.console.print(plain(text), markup=False, highlight=False)

    def show(self, jobs: Sequence[Job], stages: Mapping[int, list[Stage]]) -> None:
        for job in jobs:
            if job.is_finished and job.id not in self._ended:
                self._ended.add(job.id)
                self._end(job, stages[job.id], keep=len(jobs) == 1)
        at_work = next((job for job in jobs if job.state == "running"), next((job for job in jobs if not job.is_finished), None))
        if at_work is not None:
            for stage in stages[at_work.id]:
                self._stage(stage)
        if len(jobs) > 1:
            self._whole(jobs)

    def _end(self, job: Job, stages: Sequence[Stage], keep: bool) -> None:
        for stage in stages:
            if keep:
                self._stage(stage)
            elif stage.id in self._tasks:
                self.progress.remove_task(self._tasks.pop(stage.id))
        if not keep:
            self.say(f"{job.state}: job {job.id}, {job.title}, {duration(job.seconds)}")

    def _stage(self, stage: Stage) -> None:
        if stage.id not in self._tasks:
            self._tasks[stage.id] = self.progress.add_task(plain(stage.name), total=1.0, steps="", rate="", eta="")
        eta = f"{duration(stage.eta)} left" if stage.eta is not None else duration(stage.seconds) if stage.state == "done" else ""
        self.progress.update(
            self._tasks[stage.id],
            completed=stage.progress,
            steps=f"{stage.step}/{stage.steps}" if stage.steps else "" if stage.state == "queued" else stage.state,
            rate=_rate(stage.rate) if stage.state == "running" else "",
            eta=eta,
        )

    def _whole(self, jobs: Sequence[Job]) -> None:
        if self._batch is None:
            self._batch = self.progress.add_task("all jobs", total=float(len(jobs)), steps="", rate="", eta="")
        ended = sum(job.is_finished for job in jobs)
        self.progress.update(self._batch, completed=ended, steps=f"{ended}/{len(jobs)}")


def _rate(rate: float | None) -> str:
    if not rate:
        return ""
    return f"{rate:.1f} steps/s" if rate >= 1 else f"{1 / rate:.1f} s/step"
