"""``vcd-studio queue list|show|cancel|retry|move|priority|now|pause|resume|clear``"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcd_studio.cli.answers import EXAMPLE, Json, answer, duration, group, table
from vcd_studio.cli.following import job_object
from vcd_studio.cli.telling import tell
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted

if TYPE_CHECKING:
    from vcd_studio.jobs.batches import Verb
    from vcd_studio.jobs.model import Job, Stage
    from vcd_studio.jobs.store import Store

app = group("queue", "Jobs: what waits, what runs, what is done.", "vcd-studio queue list")
Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID…]", help="Job numbers, as queue list shows them.")]
Batch = Annotated[str | None, typer.Option("--batch", metavar="B", help="All jobs of this batch that the verb fits.")]
JobId = Annotated[int, typer.Argument(metavar="ID", help="A job's number.")]


@app.command("list", epilog=f"{EXAMPLE} vcd-studio queue list --state failed --json")
def list_jobs(
    project: Annotated[Path | None, typer.Option("--project", metavar="PATH", help="Only this project's jobs.")] = None,
    state: Annotated[list[str] | None, typer.Option("--state", metavar="S", help="Only jobs in this state; may be repeated.")] = None,
    batch: Annotated[str | None, typer.Option("--batch", metavar="B", help="Only jobs that were enqueued together as this batch.")] = None,
    as_json: Json = False,
) -> None:
    """Every job: running ones first, then the line in its order, then what has ended, newest first."""
    from vcd_studio.jobs.model import JOB_STATES

    unknown = next((word for word in state or [] if word not in JOB_STATES), None)
    if unknown is not None:
        raise InputError(f"{quoted(unknown)} is no state of a job; the states are {', '.join(JOB_STATES)}.")
    with _store() as store:
        jobs = store.jobs(project, [word for word in JOB_STATES if word in state] if state else None, batch)
        stages = store.all_stages([job.id for job in jobs])
    found = [job_object(job, stages[job.id]) for job in jobs]
    rows = [
        (
            job["id"], job["state"], job["stage"], f"{job['progress']:.0%}", duration(job["eta"]) if job["eta"] else "",
            job["priority"] or "", job["batch"], job["kind"], job["title"],
        )
        for job in found
    ]  # fmt: skip
    answer(found, table(("id", "state", "stage", "done", "left", "prio", "batch", "kind", "title"), rows, "The queue is empty."), as_json)


@app.command("show", epilog=f"{EXAMPLE} vcd-studio queue show 3")
def show(job_id: JobId, as_json: Json = False) -> None:
    """One job: its stages, its log, its error and what it made."""
    with _store() as store:
        job, stages = store.job(job_id), store.stages(job_id)
        attempts, events = store.attempts(job_id), store.events(job_id)
    shown = {
        **job_object(job, stages),
        "settings": job.settings,
        "traceback": job.traceback,
        "stages": [_stage_object(stage) for stage in stages],
        "attempts": [
            {
                "pid": attempt.worker.pid,
                "device": attempt.device,
                "started": attempt.started,
                "finished": attempt.finished,
                "outcome": attempt.outcome,
                "reason": attempt.reason,
            }
            for attempt in attempts
        ],
        "log": [{"time": event.time, "level": event.level, "text": event.text} for event in events],
    }
    rows = [(stage.name, stage.state, f"{stage.progress:.0%}", duration(stage.seconds), stage.message or "") for stage in stages]
    lines = [f"job {job.id} · {job.kind} · {job.state}", job.title, str(job.project), ""]
    lines += table(("stage", "state", "done", "time", "message"), rows, "no stages")
    lines += ["", *(f"{event.time:%Y-%m-%d %H:%M:%S}  {event.level:<7}  {event.text}" for event in events)]
    if job.error:
        lines += ["", job.error]
    answer(shown, lines, as_json)


@app.command("cancel", epilog=f"{EXAMPLE} vcd-studio queue cancel 3")
def cancel(ids: Ids = None, batch: Batch = None, as_json: Json = False) -> None:
    """End these jobs and no others: a waiting one at once, a running one after its step."""
    _each("cancel", ids, batch, lambda store, number: store.cancel(number), as_json)


@app.command("retry", epilog=f"{EXAMPLE} vcd-studio queue retry 3")
def retry(ids: Ids = None, batch: Batch = None, as_json: Json = False) -> None:
    """Failed, cancelled or set-aside jobs back into the line; finished stages are kept."""
    _each("retry", ids, batch, lambda store, number: store.retry(number), as_json, wanting=True)


@app.command("move", epilog=f"{EXAMPLE} vcd-studio queue move 7 0")
def move(
    job_id: JobId, position: Annotated[int, typer.Argument(metavar="PLACE", min=0, help="0: next to run.")], as_json: Json = False
) -> None:
    """A waiting job to another place in the line."""
    _each("move", [job_id], None, lambda store, number: store.move(number, position), as_json)


@app.command("priority", epilog=f"{EXAMPLE} vcd-studio queue priority 7 5", context_settings={"ignore_unknown_options": True})
def priority(
    numbers: Annotated[list[int], typer.Argument(metavar="[ID…] N", help="Job numbers, and last the priority: -99 to 99, usually 0.")],
    batch: Batch = None,
    as_json: Json = False,
) -> None:
    """Let jobs run before all of a lower priority, or after all of a higher one."""
    *ids, wanted = numbers
    _each("priority", ids, batch, lambda store, number: store.set_priority(number, wanted), as_json)


@app.command("now", epilog=f"{EXAMPLE} vcd-studio queue now 7")
def now(ids: Ids = None, batch: Batch = None, as_json: Json = False) -> None:
    """Waiting jobs next, paused ones too; what runs is not disturbed."""
    from vcd_studio.jobs.batches import run_now

    _all("move", ids, batch, run_now, as_json, wanting=True)


@app.command("pause", epilog=f"{EXAMPLE} vcd-studio queue pause 3")
def pause(ids: Ids = None, batch: Batch = None, as_json: Json = False) -> None:
    """Take jobs out of the line until resumed; a running one stops after its step and keeps what it has."""
    _each("pause", ids, batch, lambda store, number: store.pause(number), as_json)


@app.command("resume", epilog=f"{EXAMPLE} vcd-studio queue resume 3")
def resume(ids: Ids = None, batch: Batch = None, as_json: Json = False) -> None:
    """Paused jobs back into the line."""
    _each("resume", ids, batch, lambda store, number: store.resume(number), as_json, wanting=True)


@app.command("clear", epilog=f"{EXAMPLE} vcd-studio queue clear")
def clear(as_json: Json = False) -> None:
    """Forget jobs that have ended; what they made stays."""
    from vcd_studio.jobs.store import Store

    with Store() as store:
        count = store.clear_finished()
    answer({"cleared": count}, [f"Forgot {count} ended jobs; their clips, masks and tokens stay."], as_json)


@contextmanager
def _store() -> Iterator[Store]:
    """The queue as it is: jobs of workers that ended without a word are taken back first, so that none is called running that is not."""
    from vcd_studio.jobs import workers
    from vcd_studio.jobs.store import Store

    with Store() as store:
        for job in workers.recover(store):
            tell(f"Job {job.id} was left by a worker that ended without a word: now {job.state}.")
        yield store


def _each(
    name: Verb, ids: Sequence[int] | None, batch: str | None, verb: Callable[[Store, int], Job], as_json: bool, wanting: bool = False
) -> None:
    _all(name, ids, batch, lambda store, numbers: [verb(store, number) for number in numbers], as_json, wanting)


def _all(
    name: Verb,
    ids: Sequence[int] | None,
    batch: str | None,
    verb: Callable[[Store, Sequence[int]], list[Job]],
    as_json: bool,
    wanting: bool = False,
) -> None:
    """The verb on these jobs, after all of them were found, or on those of a batch that it fits; as one change of the queue.

    ``wanting``: say so where no worker would take them.
    """
    from vcd_studio.jobs import workers
    from vcd_studio.jobs.batches import of_batch

    if bool(ids) == (batch is not None):
        raise InputError("Say which jobs: give their numbers, or one --batch, as queue list shows them.")
    with _store() as store, store.database.write():
        numbers = list(ids or ()) if batch is None else [job.id for job in of_batch(store, batch, name)]
        for number in numbers:
            store.job(number)
        jobs = verb(store, numbers)
        stages = store.all_stages([job.id for job in jobs])
    workers.wake()
    living = [worker.device for worker in workers.status() if worker.state != "dead"]
    lonely = {job.device for job in jobs if not any(workers.takes(device, job.device) for device in living)} if wanting else set()
    for device in lonely:
        option = f" --device {device}" if device else ""
        tell(f"No worker runs{f' on {device}' if device else ''}; vcd-studio worker start{option} begins with what waits.")
    lines = [f"job {job.id} is {job.state}{_also(job)}" for job in jobs]
    answer([job_object(job, stages[job.id]) for job in jobs], lines, as_json)


def _also(job: Job) -> str:
    words = [f"{job.request} after its step"] if job.request else []
    words += [f"priority {job.priority}"] if job.priority else []
    return f" ({', '.join(words)})" if words else ""


def _stage_object(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "state": stage.state,
        "step": stage.step,
        "steps": stage.steps,
        "progress": stage.progress,
        "rate": stage.rate,
        "eta": stage.eta,
        "seconds": stage.seconds,
        "message": stage.message,
        "artefact": stage.artefact,
        "preview": stage.preview,
    }
