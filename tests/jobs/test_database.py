"""The queue's file: where it may lie, how older ones come along, what happens when it cannot be used."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from vcd_studio.jobs import database
from vcd_studio.jobs.database import Database, StoreError, file_system
from vcd_studio.jobs.migrations import MIGRATIONS, Migration, migrate, version_of
from vcd_studio.jobs.store import Store
from vcd_studio.project.errors import InputError

OLD = Path(__file__).with_name("queue-version-1.sql")
MOUNTS = """\
22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:30 / /home rw,relatime shared:2 - nfs4 server:/home rw
41 40 0:31 / /home/me/local\\040disk rw - xfs /dev/sdb rw
"""


def test_which_file_system_holds_a_path() -> None:
    assert file_system(Path("/var/x"), MOUNTS) == "ext4"
    assert file_system(Path("/home/me/state"), MOUNTS) == "nfs4"
    assert file_system(Path("/home/me/local disk/state"), MOUNTS) == "xfs"
    assert file_system(Path("/homework"), MOUNTS) == "ext4"


def test_a_network_mount_is_refused_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "file_system", lambda path: "nfs4")
    with pytest.raises(StoreError, match=r"network file system \(nfs4\).*VCD_HOME"):
        Store(tmp_path / "queue.sqlite3")
    assert not (tmp_path / "queue.sqlite3").exists()


def test_a_queue_written_by_version_1_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD.read_text(encoding="utf-8"))
    with Store(path) as store:
        states = {job.title: job.state for job in store.jobs()}
        assert states == {"masks of rex": "done", "a <rex> dog · seed 1": "running", "a <rex> dog · seed 2": "queued"}
        running = next(job for job in store.jobs() if job.state == "running")
        assert [stage.state for stage in store.stages(running.id)] == ["done", "running", "queued", "queued"]
        assert running.result == {"clip": "/films/park/outputs/a-rex-dog"}
        assert [event.text for event in store.events(running.id)] == ["begins"]
        assert [job.id for job in store.recover(lambda worker: worker.pid != 4242)] == [running.id]


def test_a_later_migration_brings_an_old_queue_along(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD.read_text(encoding="utf-8"))
    later = (*MIGRATIONS, Migration("2027-01-01", "a note", ("ALTER TABLE job ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",)))
    opened = Database(path, later)
    assert version_of(opened.connection) == len(later)
    assert [row["note"] for row in opened.connection.execute("SELECT note FROM job")] == ["none"] * 3
    opened.close()


def test_a_migration_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    Store(path).close()
    broken = (*MIGRATIONS, Migration("2027-01-01", "broken", ("CREATE TABLE half (x)", "NO SUCH STATEMENT")))
    with pytest.raises(StoreError):
        Database(path, broken)
    with sqlite3.connect(path, isolation_level=None) as connection:
        assert version_of(connection) == len(MIGRATIONS)
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
        assert migrate(connection) == 0


def test_a_queue_from_the_future_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer VCD Studio"):
        Store(path)


def test_a_file_that_is_no_queue_says_so(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    path.write_bytes(b"this is not a database, it is a letter" * 100)
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(path)


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="VCD_HOME"):
        Store(tmp_path / "file" / "queue.sqlite3")


def test_many_processes_may_open_a_new_queue_at_once(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def open_it() -> None:
        try:
            Store(tmp_path / "queue.sqlite3").close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
