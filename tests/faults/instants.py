"""The instants of a process: whatever it does to the queue's file, or to a file below one folder, counted from 1.

Python's audit events and SQLite's trace tell of them, so that what is tested runs as it ships.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
READS = ("SELECT", "PRAGMA", "--")


def watch(root: Path, act: Callable[[int], None]) -> None:
    """From now on, and for the rest of this process, ``act`` is told the number of each instant before what it counts is done.

    Instants are SQL statements that change something (BEGIN and COMMIT among them), files below ``root`` opened for writing, moved or
    removed, and folders made or removed there. What C libraries write by themselves is not seen.
    """
    count = 0

    def instant() -> None:
        nonlocal count
        count += 1
        act(count)

    def statement(sql: str) -> None:
        if not sql.lstrip().startswith(READS):
            instant()

    def heard(event: str, arguments: tuple[object, ...]) -> None:
        if ((event == "open" and _writes(arguments[2])) or event in CHANGES) and _below(root, arguments[0]):
            instant()

    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(statement)
        return connection

    sqlite3.connect = traced
    sys.addaudithook(heard)


def _writes(flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _below(root: Path, path: object) -> bool:
    return isinstance(path, (str, bytes, os.PathLike)) and Path(os.fsdecode(path)).is_relative_to(root)
