"""The queue's file: where it lies, whether it can be written, and whether it is whole. Only read, and never made."""

from __future__ import annotations

import os
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

from vcd_studio.doctor.disk import nearest
from vcd_studio.doctor.finding import Finding
from vcd_studio.jobs.database import NETWORK_FILE_SYSTEMS, file_system
from vcd_studio.jobs.migrations import MIGRATIONS, version_of

CHECK = "queue"
LOCAL = "set VCD_HOME to a folder on a local disk"
BUSY_SECONDS = 5.0


def check_queue(path: Path, mounts: str | None = None) -> Finding:
    """``mounts``: the kernel's mount table in place of this machine's."""
    kind = file_system(path.parent, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        return Finding(CHECK, "fix", f"{path} lies on a network file system ({kind}), where it could be damaged", LOCAL)
    folder = nearest(path.parent)
    if refused := next((place for place in (folder, path) if place.exists() and not os.access(place, os.W_OK)), None):
        return Finding(CHECK, "fix", f"{refused} cannot be written", "make it yours, or set VCD_HOME to a folder that is")
    where = f"{path} on {kind or 'a file system that is not told'}"
    if not path.exists():
        return Finding(CHECK, "ok", f"not begun yet, will be {where}")
    try:
        problem, version = _looked_into(path)
    except sqlite3.Error as error:
        problem, version = str(error), 0
    if problem:
        found = f"{path} is damaged: {problem}; once it is moved away, a new one is begun"
        return Finding(CHECK, "fix", found, shlex.join(["mv", str(path), f"{path}.damaged"]))
    if version > len(MIGRATIONS):
        found = f"{path} was written by a newer VCD Studio (version {version}, known {len(MIGRATIONS)})"
        return Finding(CHECK, "fix", found, "pip install --upgrade vcd-studio")
    return Finding(CHECK, "ok", f"whole, version {version}, {where}")


def _looked_into(path: Path) -> tuple[str, int]:
    """SQLite's first complaint ("" for none), and the version of the file's shape."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
        answer = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        return "" if answer == "ok" else answer, version_of(connection)
