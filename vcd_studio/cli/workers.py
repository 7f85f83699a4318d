"""``vcd-studio worker start|stop|status|run``"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vcd_studio.cli.answers import EXAMPLE, Json, answer, group, table
from vcd_studio.cli.following import need_worker
from vcd_studio.cli.telling import WORK_FAILED
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted

if TYPE_CHECKING:
    from vcd_studio.jobs.workers import WorkerStatus

app = group("worker", "The process that does the work, one a device; it outlives the terminal.", "vcd-studio worker status")
Device = Annotated[str | None, typer.Option("--device", metavar="D", help="auto, cpu, cuda:N, slurm; without it, what your settings say.")]


@app.command("start", epilog=f"{EXAMPLE} vcd-studio worker start --device cuda:0")
def start(
    device: Device = None,
    every: Annotated[bool, typer.Option("--all", help="One on each card; on the CPU where there is no card.")] = False,
    as_json: Json = False,
) -> None:
    """Start a worker in the background; for a cluster, the relay that hands jobs to it."""
    from vcd_studio.jobs import workers
    from vcd_studio.jobs.model import CLUSTERS

    if every and device is not None:
        raise InputError("--all is every device; leave --device out.")
    chosen = workers.every_device() if every else [_device(device)]
    need_worker(no_worker=False, on=next((name for name in chosen if name in CLUSTERS), None))
    started = [workers.ensure_running(name) if every else workers.start(name) for name in chosen]
    lines = [
        f"A worker runs on {worker.device} (pid {worker.pid}); its log is {workers.log_path(name)}"
        for name, worker in zip(map(workers.resolve_device, chosen), started, strict=True)
    ]
    objects = [worker_object(worker) for worker in started]
    answer(objects if every else objects[0], lines, as_json)


@app.command("stop", epilog=f"{EXAMPLE} vcd-studio worker stop")
def stop(
    device: Annotated[str | None, typer.Option("--device", metavar="D", help="Only the worker on this device.")] = None,
    as_json: Json = False,
) -> None:
    """End workers after the step in hand; their jobs go back into the line."""
    from vcd_studio.jobs import workers

    ended = workers.stop(_device(device) if device is not None else None)
    words = {"dead": "has ended", "idle": "has not ended yet", "running": "is still at its step", "restarting": "is still being kept"}
    lines = [f"The worker on {worker.device} (pid {worker.pid}) {words[worker.state]}." for worker in ended]
    answer([worker_object(worker) for worker in ended], lines, as_json)
    if any(worker.state != "dead" for worker in ended):
        raise typer.Exit(WORK_FAILED)


@app.command("status", epilog=f"{EXAMPLE} vcd-studio worker status --json")
def status(as_json: Json = False) -> None:
    """Which workers there are, on what they work, and who else is on their cards."""
    from vcd_studio.devices import card_of, read_cards
    from vcd_studio.jobs import workers

    found = workers.status()
    reading = read_cards()
    ours = {worker.pid for worker in found if worker.state != "dead"}
    rows = [(worker.device, worker.pid, worker.state, f"{worker.job.id}: {worker.job.title}" if worker.job else "") for worker in found]
    lines = table(("device", "pid", "state", "job"), rows, "No worker runs.")
    lines += [f"card {card.index} ({card.name}) is also held by {process}" for card in reading.cards for process in card.foreign(ours)]
    objects = []
    for worker in found:
        card = card_of(worker.device, reading.cards, os.environ.get("CUDA_VISIBLE_DEVICES"))
        others = None if card is None or card.processes is None else [asdict(process) for process in card.foreign(ours)]
        objects.append({**worker_object(worker), "foreign": others})
    answer(objects, lines, as_json)


@app.command("run", epilog=f"{EXAMPLE} vcd-studio worker run --device cuda:0")
def run(
    device: Device = None,
    once: Annotated[bool, typer.Option("--once", help="End when no job is waiting.")] = False,
    as_json: Json = False,
) -> None:
    """Keep a worker from the foreground (for systemd, Slurm, containers); interrupting ends it after its step, dying starts it again."""
    from vcd_studio.jobs import workers
    from vcd_studio.jobs.model import CLUSTERS

    chosen = workers.resolve_device(_device(device))
    need_worker(no_worker=False, on=chosen if chosen in CLUSTERS else None)
    there = workers.living_on(chosen)
    if there is not None:  # said here, once, and before an answer that would be untrue
        raise workers.already_running(chosen, there.pid)
    if as_json:  # the answer comes first, for what follows is the same process as another program, the keeper
        answer({"device": chosen, "pid": os.getpid(), "state": "running", "job": None}, [], True)
    sys.stderr.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    command = [sys.executable, "-m", "vcd_studio.worker.keeper", "--device", chosen, *(["--once"] if once else [])]
    os.execve(sys.executable, command, {**os.environ, "PYTHONUNBUFFERED": "1"})


def worker_object(worker: WorkerStatus) -> dict[str, Any]:
    """One worker for an answer; ``job`` is its number or null."""
    return {"device": worker.device, "pid": worker.pid, "state": worker.state, "job": worker.job.id if worker.job else None}


def _device(given: str | None) -> str:
    import re

    from vcd_studio.jobs.model import CLUSTERS

    if given is None:
        from vcd_studio.settings import load_settings

        return load_settings().device
    if given not in CLUSTERS and not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", given):
        raise InputError(f"{quoted(given)} is no device; give auto, cpu, cuda:N, or the name of a cluster ({', '.join(CLUSTERS)}).")
    return "cuda:0" if given == "cuda" else given
