"""Main memory, as far as this process may use it: a container shows the whole machine's and is ended when it takes more than its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vcd_studio.doctor.finding import GIB, Finding, gib

CHECK = "memory"
LEAST = 2 * GIB
"""A worker that has loaded torch, diffusers and pocket holds 0.93 GiB before its first step (measured on a CPU)."""
COMFORT = 8 * GIB
"""An SD 1.5 checkpoint of 32 bits (4 GiB) and a motion module (2 GiB) are in memory whole while a pack is loaded."""
UNLIMITED = 2**60
"""Bytes; version 1 of cgroups says "no limit" with the largest number of pages there is."""


@dataclass(frozen=True)
class Limit:
    """A cgroup's memory in bytes: how much it may use, and how much it cannot give back now (``used``, without pages of files)."""

    limit: int
    used: int


@dataclass(frozen=True)
class MemoryReading:
    """Bytes."""

    total: int
    available: int
    swap: int
    cgroup: Limit | None


def read_memory(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> MemoryReading:
    """What the kernel says of the machine, and of this process's cgroup."""
    import psutil

    memory = psutil.virtual_memory()
    try:
        membership = own.read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        membership = ""
    return MemoryReading(memory.total, memory.available, psutil.swap_memory().total, cgroup_limit(membership, cgroups))


def check_memory(reading: MemoryReading) -> Finding:
    """Judged by what a container leaves, where there is one."""
    total, available = reading.total, reading.available
    found = f"{gib(total)}, {gib(available)} available"
    if reading.cgroup is not None and reading.cgroup.limit < total:
        total = reading.cgroup.limit
        available = max(0, min(available, total - reading.cgroup.used))
        found = f"{gib(total)} by this container's limit, {gib(available)} available (the machine has {gib(reading.total)})"
    found += f", swap {gib(reading.swap)}" if reading.swap else ", no swap"
    more = "give the container more memory" if total < reading.total else "use a machine with more memory"
    if total < LEAST:
        return Finding(CHECK, "fix", f"{found}; a worker needs {gib(LEAST)}", more)
    if total < COMFORT:
        return Finding(CHECK, "warning", f"{found}; enough for pocket, SD 1.5 needs {gib(COMFORT)} to be loaded", more)
    if available < LEAST:
        return Finding(CHECK, "warning", found, f"end other programs: a worker needs {gib(LEAST)} at least")
    return Finding(CHECK, "ok", found)


def cgroup_limit(membership: str, root: Path) -> Limit | None:
    """The tightest limit over a process, from its ``/proc/…/cgroup`` and the tree mounted at ``root``; None without one.

    A limit holds for everything below it, so that each group up to the root is asked. Inside a container the path may be the host's,
    which is not mounted there; then the root is the container's own group.
    """
    found: list[Limit] = []
    for folder, limit_file, used_file, cache_key in _groups(membership, root):
        limit, used = _number(folder / limit_file), _number(folder / used_file)
        if limit is not None and limit < UNLIMITED:
            found.append(Limit(limit, max(0, (used or 0) - _cached(folder / "memory.stat", cache_key))))
    return min(found, key=lambda one: one.limit, default=None)


def memory_groups(membership: str) -> list[tuple[int, str]]:
    """(version of cgroups, path of the group) of each line that is about memory; lines of another form are passed over."""
    found = []
    for line in membership.splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon or not path.startswith("/"):
            continue
        if number == "0" and not controllers:
            found.append((2, path))
        elif "memory" in controllers.split(","):
            found.append((1, path))
    return found


def _groups(membership: str, root: Path) -> Iterator[tuple[Path, str, str, str]]:
    """Each group's folder from the process's own up to the root, with the names that its version gives to what is asked."""
    for version, path in memory_groups(membership):
        if version == 2:
            base, names = root, ("memory.max", "memory.current", "inactive_file")
        else:
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        for depth in range(len(parts), -1, -1):
            yield base.joinpath(*parts[:depth]), *names


def _number(file: Path) -> int | None:
    """None where the file is not there, or says "max"."""
    try:
        return int(file.read_text(encoding="ascii", errors="replace"))
    except (OSError, ValueError):
        return None


def _cached(file: Path, key: str) -> int:
    """Bytes of files kept in memory that the kernel drops when something needs the room."""
    try:
        lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(value) for name, _, value in (line.partition(" ") for line in lines) if name == key and value.isdecimal()), 0)
