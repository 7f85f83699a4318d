"""The instants of a process: whatever it does to the queue's file, or to a file below one folder, counted from 1.

They are heard through Python's audit events, SQLite's trace and open() itself, so that what is tested runs as it ships.
"""

from __future__ import annotations

import builtins
import io
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
READS = ("SELECT", "PRAGMA", "--")


def watch(root: Path, act: Callable[[int], None]) -> None:
    """From now on, and for the rest of this process, ``act`` is told the number of each instant when it comes.

    Instants lie before every SQL statement that changes something (BEGIN and COMMIT among them), and below ``root`` before a file is opened
    for writing, when it has been opened and is still empty, and before a file or folder is made, moved or removed. What C libraries write
    by themselves is not seen.
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

    connect, real_open = sqlite3.connect, io.open

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(statement)
        return connection

    def opened(file: Any, *arguments: Any, **options: Any) -> Any:
        stream = real_open(file, *arguments, **options)
        if stream.writable() and _below(root, file):
            instant()
        return stream

    sqlite3.connect = traced
    io.open = builtins.open = opened
    sys.addaudithook(heard)


def _writes(flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _below(root: Path, path: object) -> bool:
    return isinstance(path, (str, bytes, os.PathLike)) and Path(os.fsdecode(path)).is_relative_to(root)
