"""A mirror of the queue: right after every change by anybody, and reading no more than that change."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from vcd_studio import collector
from vcd_studio.jobs.mirror import Mirror
from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.store import Store

WORKER = WorkerId(1, "1", "boot")


@pytest.fixture
def mirror(store: Store, tmp_path: Path) -> Mirror:
    """Of a queue of five jobs, the first of them running."""
    store.enqueue_all([(f"job {at}", {}) for at in range(5)], "generate", tmp_path, ["t2v", "save"])
    store.claim(WORKER, "cpu")
    made = Mirror(store)
    made.look()
    return made


def test_a_step_by_another_process_changes_one_job_and_reads_one(mirror: Mirror, store: Store) -> None:
    before, stages = mirror.jobs, mirror.stages
    with Store(store.path) as worker:
        worker.progress(worker.stages(before[0].id)[0].id, 3, 10)
    read: list[str] = []
    store.database.connection.set_trace_callback(read.append)
    mirror.look()
    store.database.connection.set_trace_callback(None)
    assert mirror.stages[before[0].id][0].step == 3
    assert [now is then for now, then in zip(mirror.jobs, before, strict=True)] == [False, True, True, True, True]
    assert all(mirror.stages[job.id] is stages[job.id] for job in before[1:])
    assert stages[before[0].id][0].step == 0, "what was handed out before stays as it was"
    assert not any("CASE state" in statement for statement in read), "the order is not asked for again"


def test_a_look_without_a_change_keeps_everything(mirror: Mirror) -> None:
    jobs, stages = mirror.jobs, mirror.stages
    mirror.look()
    assert mirror.jobs is jobs
    assert mirror.stages is stages


def test_thousands_of_jobs_are_no_work_for_the_collector(mirror: Mirror, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = gc.get_freeze_count()
    Mirror(store).look()
    assert gc.get_freeze_count() == frozen
    monkeypatch.setattr(collector, "MANY", 5)
    try:
        Mirror(store).look()
        assert gc.get_freeze_count() > frozen
        assert gc.isenabled()
    finally:
        gc.unfreeze()


def test_what_is_cleared_away_goes(mirror: Mirror, store: Store) -> None:
    store.finish(mirror.jobs[0].id)
    store.cancel(mirror.jobs[2].id)
    mirror.look()
    assert [job.title for job in mirror.jobs] == ["job 1", "job 3", "job 4", "job 2", "job 0"]
    store.clear_finished()
    mirror.look()
    assert [job.title for job in mirror.jobs] == ["job 1", "job 3", "job 4"]
    assert set(mirror.stages) == {job.id for job in mirror.jobs}


def test_one_gone_and_one_new_at_once_are_both_seen(mirror: Mirror, store: Store, tmp_path: Path) -> None:
    store.cancel(mirror.jobs[4].id)
    store.clear_finished()
    store.enqueue("generate", tmp_path, "new", ["t2v"], {})
    mirror.look()
    assert [job.title for job in mirror.jobs] == ["job 0", "job 1", "job 2", "job 3", "new"]


def test_a_place_further_on_changes_the_order(mirror: Mirror, store: Store) -> None:
    store.move(mirror.jobs[4].id, 0)
    mirror.look()
    assert [job.title for job in mirror.jobs] == ["job 0", "job 4", "job 1", "job 2", "job 3"]
