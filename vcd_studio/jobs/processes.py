"""Processes that outlive the one that starts them, and telling them apart for certain: pid, start time and boot id together name one
process for ever."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from vcd_studio.jobs.model import WorkerId

LARGEST_LOG = 4 * 1024 * 1024
"""Bytes; a larger log is put aside as .log.1 when a process starts."""

_started: list[subprocess.Popen[bytes]] = []


@cache
def boot_id() -> str:
    """One name per boot of this machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return _ask("sysctl", "-n", "kern.boottime") or "unknown"


def start_of(pid: int) -> str | None:
    """When the process started, as the system counts it; None when there is no such process (or only its remains)."""
    if sys.platform.startswith("linux"):
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X", "x") else fields[19]
    state, _, start = _ask("ps", "-o", "state=,lstart=", "-p", str(pid)).partition(" ")
    return None if not state or state.startswith("Z") else start.strip()


def id_of(pid: int) -> WorkerId:
    """The id of the process that has this number now."""
    return WorkerId(pid, start_of(pid) or "unknown", boot_id())


def this_process() -> WorkerId:
    """The id of the process that asks."""
    return id_of(os.getpid())


def parent(pid: int | None) -> WorkerId | None:
    """The id of the process that started this one, if it has this number; None where it has died, and another stands in as the parent."""
    return id_of(pid) if pid is not None and os.getppid() == pid else None


def is_alive(worker: WorkerId) -> bool:
    """Whether exactly this process still runs on this machine."""
    return worker.boot == boot_id() and start_of(worker.pid) == worker.start


def detached(module: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """``python -m module …`` as a process of its own that outlives this one and its terminal, printing into ``log``."""
    command = [sys.executable, "-m", *module]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    package_parent = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [package_parent, environment.get("PYTHONPATH")]))
    if user_systemd():  # a scope keeps the process ours, with its environment and its pid, but outside the session that ends at log-out
        command = ["systemd-run", "--user", "--scope", "--quiet", "--collect", *command]
    reap()
    if log.is_file() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd=log.parent, start_new_session=True
        )
    _started.append(process)
    return process


def user_systemd() -> bool:
    """Whether this user's systemd can hold a process, so that it outlives the log-out (else setsid does what it can)."""
    systemctl = shutil.which("systemctl")
    if not systemctl or not shutil.which("systemd-run"):
        return False
    try:
        asked = subprocess.run([systemctl, "--user", "is-system-running"], capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.stdout.strip() in ("running", "degraded")


def reap() -> None:
    """Let go of those of our children that ended."""
    _started[:] = [process for process in _started if process.poll() is None]


def last_line(log: Path) -> str:
    """What a process said last."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it said nothing"


def _ask(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
