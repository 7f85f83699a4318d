"""What a worker that died left lying, and nobody will use: halves of files, and a folder that it made and had no time to note."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vcd_studio.jobs.model import Job
from vcd_studio.jobs.store import Store
from vcd_studio.locations import state_dir
from vcd_studio.project.paths import inside

HALF = re.compile(r".+\.part(\.\w+)?|\..+\.old")
"""Names under which files and folders are written before they take their place, or give it up."""
NUMBERED = re.compile(r".+-\d+")


def sweep(store: Store, job: Job) -> None:
    """Clear up after earlier attempts at this job, before the next one begins."""
    for place in _own_places(job):
        for half in [path for path in place.rglob("*") if HALF.fullmatch(path.name)]:
            if half.is_dir() and not half.is_symlink():
                shutil.rmtree(half, ignore_errors=True)
            else:
                half.unlink(missing_ok=True)
    made, parent = _makes(job)
    if parent is None or job.result.get(made) or not parent.is_dir():
        return
    empty = [folder for folder in parent.iterdir() if NUMBERED.fullmatch(folder.name) and _is_empty(folder)]
    named = {other.result.get(made) for other in store.jobs(job.project)}  # only now, so that others had time to note what they made
    for folder in empty:
        if str(folder) not in named:
            with suppress(OSError):  # used by now
                folder.rmdir()


def _own_places(job: Job) -> Iterator[Path]:
    """Folders that this job alone writes into, and the masks, which it shares with a person's corrections."""
    yield state_dir() / "previews" / str(job.id)
    yield from (Path(job.result[made]) for made in ("run", "clip") if job.result.get(made))
    if "identity" in job.settings:
        yield inside(job.project, "identities", job.settings["identity"], "masks")


def _makes(job: Job) -> tuple[str, Path | None]:
    """What the job notes in its result, and the folder in which it makes it."""
    if job.kind == "train":
        return "run", inside(job.project, "identities", job.settings["identity"], "trained")
    return "clip", inside(job.project, "outputs") if job.kind == "generate" else None


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not folder.is_symlink() and next(folder.iterdir(), None) is None
