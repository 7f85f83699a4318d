"""Opening the queue's file: a local disk, write-ahead logging, the present shape."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

from vcd_studio.jobs.migrations import MIGRATIONS, Migration, migrate, version_of
from vcd_studio.project.errors import InputError

NETWORK_FILE_SYSTEMS = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph", "lustre", "gpfs", "beegfs", "pvfs2", "glusterfs",
    "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "davfs", "fuse.davfs2",
}  # fmt: skip


LITTLE_SPACE = 1024 * 1024
"""Bytes; where a disk has less and SQLite speaks of an error in reading or writing, the disk is full."""


class StoreError(InputError):
    """The queue's file cannot be used: one sentence with the remedy."""


def file_system(path: Path, mounts: str | None = None) -> str | None:
    """The type of the file system that holds path ("ext4", "nfs4" …), from the kernel's mount table; None when that is not there."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
    wanted = path.resolve()
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        if wanted.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = len(point.parts), after.split(" ")[0]
    return best[1] if best else None


def _write_ahead(connection: sqlite3.Connection) -> str:
    """Switch to write-ahead logging; SQLite does not wait for another process that is doing the same, so this does."""
    until = time.monotonic() + 30
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _is_full(error: sqlite3.Error, folder: Path) -> bool:
    """Whether a full disk is behind an error of SQLite, which names it so only where it was a page of the queue that found no room."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
        return shutil.disk_usage(folder).free < LITTLE_SPACE
    return code == sqlite3.SQLITE_FULL


class Database:
    """One connection, safe to share between threads: every use takes its lock."""

    def __init__(self, path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        self.path = path
        self.lock = RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The queue's folder {path.parent} cannot be made ({error.strerror}); set VCD_HOME to a folder you own."
            ) from error
        kind = file_system(path.parent)
        if kind in NETWORK_FILE_SYSTEMS:
            raise StoreError(
                f"The queue {path} lies on a network file system ({kind}), where it could be damaged; "
                "set VCD_HOME to a folder on a local disk."
            )
        try:
            self.connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self.connection.row_factory = sqlite3.Row
            mode = _write_ahead(self.connection)
            self.connection.execute("PRAGMA synchronous = FULL")
            self.connection.execute("PRAGMA foreign_keys = ON")
            version = version_of(self.connection)
            if version < len(migrations):
                migrate(self.connection, migrations)
        except sqlite3.Error as error:
            if _is_full(error, path.parent):
                raise StoreError(f"The queue {path} cannot be opened, because its disk is full; free some space and try again.") from error
            raise StoreError(
                f"The queue {path} cannot be opened ({error}); check the disk, or move the file away to start a new one."
            ) from error
        if mode != "wal":
            raise StoreError(f"The queue {path} cannot use write-ahead logging here; set VCD_HOME to a folder on a local disk.")
        if version > len(migrations):
            raise StoreError(
                f"The queue {path} was written by a newer VCD Studio (version {version}, known {len(migrations)}); update this one."
            )

    def close(self) -> None:
        with self.lock:
            self.connection.close()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        with self.lock:
            try:
                yield self.connection
            except sqlite3.Error as error:
                raise StoreError(f"The queue {self.path} cannot be read ({error}).") from error

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction that is either wholly there afterwards or not at all; one within another is part of that."""
        with self.lock:
            if self.connection.in_transaction:
                yield self.connection
                return
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self.connection
                    self.connection.execute("COMMIT")
                except BaseException:
                    if self.connection.in_transaction:
                        self.connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                if _is_full(error, self.path.parent):
                    raise StoreError(
                        f"The queue {self.path} cannot be written, because its disk is full; free some space: nothing was changed."
                    ) from error
                raise StoreError(f"The queue {self.path} cannot be written ({error}); nothing was changed.") from error

    def revision(self) -> int:
        """Grows whenever anybody, this connection or another process, has written. Costs one pragma."""
        with self.read() as connection:
            return int(connection.execute("PRAGMA data_version").fetchone()[0]) + connection.total_changes
