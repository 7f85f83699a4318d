"""A worker that dies before any one of the things it does to the queue or to a file: the next one brings everything to the same end."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.faults.dying_worker import KILLED, instants_of, queue_of, run_worker
from tests.faults.quick_stages import RAN
from vcd_studio.jobs.store import Store
from vcd_studio.media.frames import load_frames


def quick_world(folder: Path) -> Path:
    """A training and two clips, waiting."""
    project = folder / "film"
    project.mkdir(parents=True)
    with Store(queue_of(folder)) as store:
        store.enqueue("train", project, "training", ["train"], {})
        store.enqueue_all([(f"clip {seed}", {"seed": seed}) for seed in (1, 2)], "generate", project, ["t2v", "save"])
    return folder


def finished_stages(world: Path) -> set[str]:
    with Store(queue_of(world)) as store:
        return {f"{stage.job_id} {stage.name}" for job in store.jobs() for stage in store.stages(job.id) if stage.state == "done"}


def begun_stages(world: Path) -> list[str]:
    path = world / "film" / RAN
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def made(world: Path) -> list[object]:
    """What the jobs brought, in their order; everything that must not depend on how often they were interrupted."""
    brought: list[object] = []
    with Store(queue_of(world)) as store:
        for job in sorted(store.jobs(), key=lambda job: job.id):
            assert job.state == "done", (job.title, job.state, job.error, job.traceback)
            assert [stage.state for stage in store.stages(job.id)] == ["done"] * len(store.stages(job.id))
            assert [attempt.outcome for attempt in store.attempts(job.id)][-1] == "done"
            if job.kind == "train":
                brought.append((Path(job.result["run"]) / "learnt.txt").read_text())
            else:
                frames = load_frames(Path(job.result["clip"]) / "stages" / "t2v" / "frames")
                brought.append(((Path(job.result["clip"]) / "clip.toml").read_text(), [frame.tobytes() for frame in frames]))
        assert store.open_attempts() == []
    return brought


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
        assert made(world) == made(unbroken), instant
