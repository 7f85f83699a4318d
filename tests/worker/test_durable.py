"""What must lie on the disk before the queue says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vcd_studio.worker.durable import settle


def test_every_file_of_a_folder_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "frames").mkdir()
    for name in ("clip.mp4", "frames/0000.png"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("/nowhere")
    waited: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: waited.append(os.fstat(descriptor).st_ino))
    settle(tmp_path)
    assert sorted(waited) == sorted((tmp_path / name).stat().st_ino for name in ("", "clip.mp4", "frames", "frames/0000.png"))


def test_files_that_vanish_meanwhile_are_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        (tmp_path / name).touch()

    def clear(descriptor: int) -> None:
        for path in tmp_path.iterdir():
            path.unlink()

    monkeypatch.setattr(os, "fsync", clear)
    settle(tmp_path)
    settle(tmp_path / "a")
