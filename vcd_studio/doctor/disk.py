"""Room on the disks that the studio writes to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from vcd_studio.doctor.finding import GIB, Finding, gib
from vcd_studio.project.text import plain

LEAST = 1 * GIB
"""A 512×512 clip through all stages keeps about 45 MB (jobs.estimates); a training's checkpoints and the queue must not be cut short."""
COMFORT = 10 * GIB
"""A checkpoint (4 GiB), a motion module (2 GiB) and a ControlNet (1.4 GiB) come first, then the clips."""


def places() -> dict[str, Path]:
    """What is written, and where; the folders need not be there yet."""
    from vcd_studio import locations

    return {
        "projects": locations.default_projects_dir(),
        "state": locations.state_dir(),
        "cache": locations.cache_dir(),
        "packs": locations.packs_dir(),
        "Hugging Face": locations.hub_cache(),
    }


def nearest(path: Path) -> Path:
    """The folder itself, or the nearest above it that is there: what it would be made in."""
    return next((place for place in (path, *path.parents) if place.is_dir()), Path("/"))


def check_disks(wanted: Mapping[str, Path], free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free) -> list[Finding]:
    """A finding for each disk that holds some of ``wanted``. ``free``: bytes that this user may still write in a folder."""
    disks: dict[int, dict[str, Path]] = {}
    for name, path in wanted.items():
        place = nearest(path)
        disks.setdefault(place.stat().st_dev, {})[name] = place
    return [_check_disk(held, free(next(iter(held.values())))) for held in disks.values()]


def _check_disk(held: Mapping[str, Path], free: int) -> Finding:
    where = plain(str(next(iter(held.values()))))
    found = f"{gib(free)} free for {', '.join(held)}, in {where}"
    if free < LEAST:
        return Finding("disk", "fix", found, f"free {gib(LEAST)} at least, or set VCD_HOME to a folder on another disk")
    if free < COMFORT:
        return Finding("disk", "warning", f"{found}; models and clips need more", f"have {gib(COMFORT)} free before adding models")
    return Finding("disk", "ok", found)
