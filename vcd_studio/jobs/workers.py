"""Workers as seen from outside: who runs, starting, stopping, waking. No torch here; the work itself is another process."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from vcd_studio.jobs.model import CLUSTERS, Job, WorkerId
from vcd_studio.jobs.processes import detached, is_alive, last_line, reap
from vcd_studio.jobs.store import Store
from vcd_studio.locations import store_path, worker_dir
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import quoted

WorkerState = Literal["running", "idle", "dead"]
START_SECONDS = 90.0
"""How long a fresh process may take to claim its device before start() gives up on it."""


class WorkerRunning(InputError):
    """Another worker holds the device."""


@dataclass(frozen=True)
class WorkerStatus:
    """One worker: "running" a job, "idle", or "dead" (it ended without a word)."""

    device: str
    pid: int
    state: WorkerState
    job: Job | None
    id: WorkerId


def lock_path(device: str) -> Path:
    """Held by flock for a worker's life; holds its id as JSON."""
    return worker_dir() / f"{_file_name(device)}.lock"


def log_path(device: str) -> Path:
    """What the worker process prints."""
    return worker_dir() / f"{_file_name(device)}.log"


def wake_path(device: str) -> Path:
    """A FIFO that the idle worker listens to."""
    return worker_dir() / f"{_file_name(device)}.wake"


def write_lock(descriptor: int, worker: WorkerId, device: str) -> None:
    """Who holds the device, into its open lock file."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({**asdict(worker), "device": device}).encode(), 0)


def read_lock(path: Path) -> tuple[WorkerId, str] | None:
    """(who, device) of a lock file; None when nobody is written there. Takes no lock."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return WorkerId(int(data["pid"]), str(data["start"]), str(data["boot"])), str(data["device"])
    except (OSError, ValueError, KeyError, TypeError):
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
    found = []
    for path in sorted(worker_dir().glob("*.lock")):
        holder = read_lock(path)
        if holder is None:
            continue
        worker, device = holder
        job = running.get(worker)
        state: WorkerState = ("running" if job else "idle") if is_alive(worker) else "dead"
        found.append(WorkerStatus(device, worker.pid, state, job if state == "running" else None, worker))
    return found


def start(device: str = "auto") -> WorkerStatus:
    """A detached worker on the device, once it holds it. WorkerRunning names the one that already does."""
    device = resolve_device(device)
    holder = read_lock(lock_path(device))
    if holder and is_alive(holder[0]):
        raise already_running(device, holder[0].pid)
    _prepare_folder()
    process = detached([module_of(device), "--device", device], log_path(device))
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        holder = read_lock(lock_path(device))
        if holder and holder[0].pid == process.pid and is_alive(holder[0]):
            return WorkerStatus(device, process.pid, "idle", None, holder[0])
        if process.poll() is not None:
            if holder and is_alive(holder[0]):
                raise already_running(device, holder[0].pid)
            raise InputError(f"The worker on {device} ended at once: {last_line(log_path(device))} (log: {log_path(device)}).")
        time.sleep(0.05)
    raise InputError(f"The worker on {device} (pid {process.pid}) has not taken its device; its log is {log_path(device)}.")


def ensure_running(device: str = "auto") -> WorkerStatus:
    """The living worker of the device, started if there is none."""
    device = resolve_device(device)
    for worker in status():
        if worker.device == device and worker.state != "dead":
            return worker
    try:
        return start(device)
    except WorkerRunning:
        return next(worker for worker in status() if worker.device == device)


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
    living = [worker for worker in status() if worker.state != "dead" and wanted in (None, worker.device)]
    if not living:
        raise InputError(f"No worker runs{f' on {wanted}' if wanted else ''}; there is nothing to stop.")
    for worker in living:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGTERM)
    until = time.monotonic() + wait
    while any(is_alive(worker.id) for worker in living) and time.monotonic() < until:
        time.sleep(0.05)
    reap()
    return [worker if is_alive(worker.id) else WorkerStatus(worker.device, worker.pid, "dead", None, worker.id) for worker in living]


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


def _running(store: Store) -> dict[WorkerId, Job]:
    return {attempt.worker: store.job(attempt.job_id) for attempt in store.open_attempts()}


def _file_name(device: str) -> str:
    return device.replace(":", "-").replace("/", "-")
