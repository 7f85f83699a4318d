"""Workers as seen from outside: who runs, starting, stopping, waking. No torch here; the work itself is another process."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any, Literal

from vcd_studio.jobs.model import CLUSTERS, Job, WorkerId
from vcd_studio.jobs.processes import detached, is_alive, last_line, reap
from vcd_studio.jobs.store import Store
from vcd_studio.locations import store_path, worker_dir
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted

WorkerState = Literal["running", "idle", "restarting", "dead"]
BUS_ORDER = "PCI_BUS_ID"
"""How a worker lets CUDA count the cards where CUDA_DEVICE_ORDER says nothing else: as NVML does."""
START_SECONDS = 90.0
"""How long a fresh process may take to claim its device before start() gives up on it."""


class WorkerRunning(InputError):
    """Another worker holds the device."""


@dataclass(frozen=True)
class WorkerStatus:
    """One worker: "running" a job, "idle", "restarting" (it died, and its keeper, whose ``pid`` and ``id`` these are, will start it again)
    or "dead" (it ended without a word)."""

    device: str
    pid: int
    state: WorkerState
    job: Job | None
    id: WorkerId


@dataclass(frozen=True)
class Holder:
    """Who is written in a device's lock file, and the keeper that started it, if one did."""

    worker: WorkerId
    device: str
    keeper: WorkerId | None = None


def lock_path(device: str) -> Path:
    """Held by flock for a worker's life; holds its id as JSON."""
    return worker_dir() / f"{_file_name(device)}.lock"


def log_path(device: str) -> Path:
    """What the worker process prints."""
    return worker_dir() / f"{_file_name(device)}.log"


def wake_path(device: str) -> Path:
    """A FIFO that the idle worker listens to."""
    return worker_dir() / f"{_file_name(device)}.wake"


def write_lock(descriptor: int, holder: Holder) -> None:
    """Who holds the device, into its open lock file."""
    os.ftruncate(descriptor, 0)
    keeper = asdict(holder.keeper) if holder.keeper else None
    os.pwrite(descriptor, json.dumps({**asdict(holder.worker), "device": holder.device, "keeper": keeper}).encode(), 0)


def read_lock(path: Path) -> Holder | None:
    """The holder that a lock file names; None when nobody is written there. Takes no lock."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        keeper = told.get("keeper")  # not there in what an older release wrote
        return Holder(_worker_id(told), str(told["device"]), _worker_id(keeper) if keeper else None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def resolve_device(device: str = "auto") -> str:
    """ "auto" as a device: the first NVIDIA card where there is one and torch was built for it, else the CPU. Asks no torch."""
    if device in CLUSTERS:
        return device
    if device != "auto":
        named = re.fullmatch(r"cpu|cuda(?::(\d{1,3}))?", device)
        if named is None:
            raise InputError(f"{quoted(device)} is no device; use auto, cpu or cuda:0 (cuda:1 …).")
        return "cpu" if device == "cpu" else f"cuda:{int(named.group(1) or 0)}"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not Path("/proc/driver/nvidia/version").exists():
        return "cpu"
    try:
        return "cpu" if "+cpu" in importlib.metadata.version("torch") else "cuda:0"
    except importlib.metadata.PackageNotFoundError:
        return "cpu"


def every_device() -> list[str]:
    """A device for each card that CUDA counts here; the CPU alone where "auto" means it."""
    first = resolve_device()
    if first == "cpu":
        return [first]
    from vcd_studio import devices

    cards, visible = devices.read_cards().cards, os.environ.get("CUDA_VISIBLE_DEVICES")
    counted = takewhile(lambda name: devices.card_of(name, cards, visible), (f"cuda:{number}" for number in count()))
    return list(counted) or [first]


def module_of(device: str) -> str:
    """What ``python -m`` runs as the device's worker: for a cluster, its relay."""
    return "vcd_studio.cluster" if device in CLUSTERS else "vcd_studio.worker"


def takes(worker: str, device: str | None) -> bool:
    """Whether a worker on the one device takes the jobs of the other (None: of any)."""
    return worker == device or (device is None and worker not in CLUSTERS)


def status(store: Store | None = None) -> list[WorkerStatus]:
    """Every worker that runs on this machine or ended without a word, by device."""
    running: dict[WorkerId, Job] = {}
    if store is not None:
        running = _running(store)
    elif store_path().is_file():
        with Store() as own:
            running = _running(own)
    holders = filter(None, map(read_lock, sorted(worker_dir().glob("*.lock"))))
    found = sorted((_status(holder, running.get(holder.worker)) for holder in holders), key=lambda worker: worker.device)
    held = {worker.device for worker in found if worker.state != "dead"}
    return [worker for worker in found if worker.state != "dead" or worker.device not in held]


def start(device: str = "auto") -> WorkerStatus:
    """A detached worker on the device, once it holds it, with a keeper that starts it again should it die. WorkerRunning names the one
    that already does."""
    device = resolve_device(device)
    lock, log = lock_path(device), log_path(device)
    holder = read_lock(lock)
    if holder and is_alive(holder.worker):
        raise already_running(device, holder.worker.pid)
    _prepare_folder()
    keeper = detached(["vcd_studio.worker.keeper", "--device", device], log)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        holder = read_lock(lock)
        if holder and holder.keeper and holder.keeper.pid == keeper.pid and is_alive(holder.worker):
            return _status(holder, None)
        if keeper.poll() is not None:
            if holder and is_alive(holder.worker):
                raise already_running(device, holder.worker.pid)
            raise InputError(f"The worker on {device} ended at once: {last_line(log)} (log: {log}).")
        time.sleep(0.05)
    raise InputError(f"The worker on {device} (keeper {keeper.pid}) has not taken its device; its log is {log}.")


def living_on(device: str) -> WorkerStatus | None:
    """The worker that holds the device, by whatever name, or will hold it again; None where it is free."""
    holder = read_lock(lock_path(device))
    ids = (holder.worker, holder.keeper) if holder else ()
    return next((worker for worker in status() if worker.id in ids and worker.state != "dead"), None)


def ensure_running(device: str = "auto") -> WorkerStatus:
    """The living worker of the device, started if there is none."""
    device = resolve_device(device)
    try:
        return living_on(device) or start(device)
    except WorkerRunning:  # somebody was quicker
        there = living_on(device)
        if there is None:
            raise
        return there


def recover(store: Store) -> list[Job]:
    """Take back the running jobs of workers that died, as any worker does when it looks for work; those touched.

    For a front end that opens after a crash or a power cut, so that nothing is shown running that is not.
    """
    return store.recover(is_alive)


def stop(device: str | None = None, *, wait: float = 60.0) -> list[WorkerStatus]:
    """Ask the worker of the device (None: all of them) to end: it finishes its step, saves, puts its job back into the line.

    Waits up to ``wait`` seconds; the workers as they are then ("dead": gone). InputError when none runs.
    """
    wanted = None if device is None else resolve_device(device)
    holds = living_on(wanted) if wanted else None
    named = [worker for worker in status() if worker.state != "dead" and wanted in (None, worker.device)]
    living = [holds] if holds else named  # the card that is called so here; else the one that was called so where its worker started
    if not living:
        raise InputError(f"No worker runs{f' on {wanted}' if wanted else ''}; there is nothing to stop.")
    for worker in living:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGTERM)
    until = time.monotonic() + wait
    while any(is_alive(worker.id) for worker in living) and time.monotonic() < until:
        time.sleep(0.05)
    reap()
    return [worker if is_alive(worker.id) else replace(worker, state="dead", job=None) for worker in living]


def wake() -> None:
    """A hint to idle workers that something is in the queue; they look once a second anyway."""
    for path in worker_dir().glob("*.wake"):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody listens
            continue
        with suppress(OSError):
            os.write(descriptor, b"\n")
        os.close(descriptor)


def already_running(device: str, pid: int) -> WorkerRunning:
    return WorkerRunning(f"A worker already runs on {device} (pid {pid}); `vcd-studio worker stop --device {device}` ends it.")


def _prepare_folder() -> None:
    try:
        worker_dir().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {worker_dir()} cannot be made ({error.strerror}); set VCD_HOME to a folder you own.") from error


def _worker_id(told: dict[str, Any]) -> WorkerId:
    return WorkerId(int(told["pid"]), str(told["start"]), str(told["boot"]))


def _status(holder: Holder, job: Job | None) -> WorkerStatus:
    if is_alive(holder.worker):
        return WorkerStatus(holder.device, holder.worker.pid, "running" if job else "idle", job, holder.worker)
    if holder.keeper and is_alive(holder.keeper):
        return WorkerStatus(holder.device, holder.keeper.pid, "restarting", None, holder.keeper)
    return WorkerStatus(holder.device, holder.worker.pid, "dead", None, holder.worker)


def _running(store: Store) -> dict[WorkerId, Job]:
    return {attempt.worker: store.job(attempt.job_id) for attempt in store.open_attempts()}


def _file_name(device: str) -> str:
    """A card's UUID, whatever CUDA calls it where its worker was started; the device's name for the CPU, and where NVML tells no UUID."""
    by_bus = os.environ.get("CUDA_DEVICE_ORDER", BUS_ORDER) == BUS_ORDER
    uuid = None
    if device != "cpu" and by_bus:
        from vcd_studio import devices

        uuid = devices.uuid_of(device, devices.read_cards().cards, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return (uuid or device).replace(":", "-").replace("/", "-")
