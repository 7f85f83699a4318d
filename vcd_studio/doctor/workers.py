"""Workers: who runs, who ended without a word, and whether one outlives the log-out."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from vcd_studio.doctor.finding import Finding
from vcd_studio.jobs.processes import is_alive, user_systemd
from vcd_studio.jobs.workers import WorkerStatus, log_path, read_lock, resolve_device
from vcd_studio.locations import worker_dir

CHECK = "worker"
LINGER = "loginctl enable-linger"


def check_workers(workers: Sequence[WorkerStatus]) -> Finding:
    """All of them in one line; those that died hold a device's lock file and maybe a job, until the next one starts."""
    found = ", ".join(f"{worker.device} {worker.state} (pid {worker.pid})" for worker in workers) or "none runs; the next job starts one"
    dead = [worker for worker in workers if worker.state == "dead"]
    if dead:
        found += f"; the next to start takes the jobs of the dead back (what {dead[0].device} said last: {log_path(dead[0].device)})"
        return Finding(CHECK, "warning", found, f"vcd-studio worker start --device {dead[0].device}")
    return Finding(CHECK, "ok", found)


def worker_pids() -> set[int]:
    """The living workers' processes, from their lock files alone: told even where the queue cannot be read."""
    holders = (read_lock(path) for path in worker_dir().glob("*.lock"))
    return {holder.worker.pid for holder in holders if holder is not None and is_alive(holder.worker)}


def check_device(cards: int, device: str | None = None) -> Finding:
    """What "auto" means here. ``cards``: how many NVML counts; ``device``: what :func:`resolve_device` answered, None to ask it."""
    device = resolve_device() if device is None else device
    if cards and device == "cpu":
        found = "auto means the CPU, though there is a card: CUDA_VISIBLE_DEVICES, the driver, or a torch without CUDA hide it"
        return Finding("device", "warning", found, 'see what is said of card and torch, or set device = "cuda:0" in settings.toml')
    return Finding("device", "ok", f"auto means {device}")


def check_detaching(systemd: bool | None = None, linger: bool | None = None) -> Finding:
    """How a worker leaves the terminal that started it. ``systemd``, ``linger``: as they were found, None to ask."""
    if not (user_systemd() if systemd is None else systemd):
        return Finding("detaching", "ok", "setsid: a session of its own, which no closed terminal ends")
    linger = lingers() if linger is None else linger
    if linger is False:
        found = "a scope of this user's systemd, which ends with the last log-out, and the worker with it: lingering is off"
        return Finding("detaching", "warning", found, LINGER)
    told = "lingering is on" if linger else "whether it lingers after the log-out is not told"
    return Finding("detaching", "ok", f"a scope of this user's systemd; {told}")


def lingers() -> bool | None:
    """Whether this user's systemd outlives the log-out; None where logind does not say."""
    loginctl = shutil.which("loginctl")
    if not loginctl:
        return None
    question = [loginctl, "show-user", str(os.getuid()), "--property=Linger", "--value"]
    try:
        said = subprocess.run(question, capture_output=True, text=True, check=False, timeout=5).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(said)
