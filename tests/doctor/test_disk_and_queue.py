"""Room to write, and the queue's file: looked at and never changed."""

from __future__ import annotations

import os
import shlex
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcd_studio.doctor.disk import check_disks
from vcd_studio.doctor.queue import check_queue
from vcd_studio.jobs.database import file_system
from vcd_studio.jobs.store import Store

GIB = 2**30


@pytest.mark.parametrize(("free", "state"), [(GIB - 1, "fix"), (5 * GIB, "warning"), (100 * GIB, "ok")])
def test_one_disk_is_one_finding_for_all_that_lies_on_it(free: int, state: str, tmp_path: Path) -> None:
    wanted = {"projects": tmp_path / "not" / "there" / "yet", "state": tmp_path}
    (found,) = check_disks(wanted, lambda place: free)
    assert found.state == state
    assert "projects, state" in found.found
    assert str(tmp_path) in found.found


def test_the_room_is_asked_where_a_folder_would_be_made(tmp_path: Path) -> None:
    asked: list[Path] = []
    check_disks({"packs": tmp_path / "a" / "b"}, lambda place: asked.append(place) or GIB)
    assert asked == [tmp_path]


def test_a_queue_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    found = check_queue(tmp_path / "state" / "queue.sqlite3")
    assert found.state == "ok"
    assert "not begun yet" in found.found
    assert list(tmp_path.iterdir()) == []


def test_a_whole_queue_stays_as_it_is_even_while_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    with Store(path) as store:
        store.enqueue("segment", tmp_path, "masks of rex", ["segment"], {})
        before = path.read_bytes()
        assert check_queue(path).state == "ok"
        assert path.read_bytes() == before
        assert len(store.jobs()) == 1


def test_a_damaged_queue_is_found_with_a_command_that_moves_it_away(tmp_path: Path) -> None:
    path = tmp_path / "my films" / "queue.sqlite3"
    path.parent.mkdir()
    with Store(path) as store:
        for number in range(200):
            store.enqueue("segment", tmp_path, f"masks of subject {number}", ["segment"], {"words": "x" * 200})
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 8192)
    found = check_queue(path)
    assert found.state == "fix"
    assert "is damaged" in found.found
    assert shlex.split(found.remedy) == ["mv", str(path), f"{path}.damaged"]
    path.write_bytes(b"this is no database, it is a letter" * 100)
    assert "file is not a database" in check_queue(path).found


def test_a_queue_from_the_future(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite3"
    Store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    found = check_queue(path)
    assert found.state == "fix"
    assert "newer VCD Studio (version 99" in found.found


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs", "lustre"])
def test_a_network_mount_cannot_hold_it(kind: str, tmp_path: Path) -> None:
    found = check_queue(tmp_path / "queue.sqlite3", f"22 1 0:1 / / rw - ext4 /dev/vda rw\n40 22 0:30 / {tmp_path} rw - {kind} x rw\n")
    assert found.state == "fix"
    assert f"({kind})" in found.found
    assert "VCD_HOME" in found.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_ones_own(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert check_queue(tmp_path / "state" / "queue.sqlite3").state == "fix"


def test_what_the_system_will_not_let_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = check_queue(tmp_path / "state" / "queue.sqlite3")
    assert found.state == "fix"
    assert f"{tmp_path} cannot be written" in found.found


@given(st.text())
def test_any_mount_table_is_read_without_complaint(mounts: str) -> None:
    assert file_system(Path("/home/me"), mounts) is None or " - " in mounts


@given(st.lists(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8), min_size=1, max_size=4))
def test_the_nearest_mount_above_a_path_is_its_own(parts: list[str]) -> None:
    points = ["/" + "/".join(parts[:depth]) for depth in range(len(parts) + 1)]
    mounts = "".join(f"{number} 1 0:1 / {point} rw - kind{number} x rw\n" for number, point in enumerate(points))
    assert file_system(Path(points[-1], "below"), mounts) == f"kind{len(parts)}"
