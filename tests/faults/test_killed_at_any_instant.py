"""A worker that dies before any one of the things it does to the queue or to a file: the next one brings everything to the same end."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.faults.dying_worker import KILLED, instants_of, queue_of, run_worker
from tests.faults.quick_stages import RAN
from tests.faults.worlds import quick_made, quick_world
from vcd_studio.jobs.store import Store


def finished_stages(world: Path) -> set[str]:
    with Store(queue_of(world)) as store:
        return {f"{stage.job_id} {stage.name}" for job in store.jobs() for stage in store.stages(job.id) if stage.state == "done"}


def begun_stages(world: Path) -> list[str]:
    path = world / "film" / RAN
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def is_whole(world: Path) -> bool:
    connection = sqlite3.connect(queue_of(world))
    try:
        return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = quick_world(tmp_path_factory.mktemp("unbroken"))
    assert run_worker(world, quick=True) == 0
    return world


def test_there_are_two_hundred_instants_at_least(unbroken: Path) -> None:
    assert instants_of(unbroken) >= 200


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_the_next_worker_ends_where_an_unbroken_one_does(unbroken: Path, tmp_path: Path, part: int) -> None:
    for instant in range(1 + part, instants_of(unbroken) + 1, 4):
        world = quick_world(tmp_path / str(instant))
        assert run_worker(world, quick=True, dies_at=instant) == KILLED, instant
        assert is_whole(world), instant
        finished, begun = finished_stages(world), begun_stages(world)
        assert run_worker(world, quick=True) == 0, instant
        assert finished.isdisjoint(begun_stages(world)[len(begun) :]), f"instant {instant}: a finished stage was done again"
        assert quick_made(world) == quick_made(unbroken), instant
