"""Telling processes apart for certain: pid, start time and boot id together name one process for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from vcd_studio.jobs.model import WorkerId


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


def this_process() -> WorkerId:
    """The id of the process that asks."""
    pid = os.getpid()
    return WorkerId(pid, start_of(pid) or "unknown", boot_id())


def is_alive(worker: WorkerId) -> bool:
    """Whether exactly this process still runs on this machine."""
    return worker.boot == boot_id() and start_of(worker.pid) == worker.start


def _ask(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
