"""SQLite's own word on what the queue asks most: found by an index, with nothing sorted, however many jobs there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.store import Store

WORKER = WorkerId(1, "1", "boot")


def plans(store: Store, ask: Callable[[], object]) -> list[str]:
    """The plan of every statement that the question leads to, but for those of triggers."""
    connection = store.database.connection
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    try:
        ask()
    finally:
        connection.set_trace_callback(None)
    asked = [statement for statement in statements if not statement.startswith(("BEGIN", "COMMIT", "--"))]
    assert asked
    return [" | ".join(row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")) for statement in asked]


@pytest.fixture
def many(store: Store, tmp_path: Path) -> Store:
    """Enough jobs, of every fate, that SQLite has something to choose between."""
    store.enqueue_all([(f"job {at}", {"pack": "pocket"}) for at in range(40)], "generate", tmp_path, ["t2v", "save"])
    for _ in range(10):
        job = store.claim(WORKER, "cpu")
        assert job is not None
        store.finish(job.id)
    store.claim(WORKER, "cpu")
    store.database.connection.execute("ANALYZE")
    return store


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda store: store.waiting("cuda:1"), "job_device_line (state=? AND device=?)"),
        (lambda store: store.claim(WORKER, "cuda:1"), "job_device_line (state=? AND device=?)"),
        (lambda store: store.changed_jobs(3), "job_change (change>?)"),
        (lambda store: store.count(), "COVERING INDEX"),
        (lambda store: store.newest_done("generate", "pocket", 20), "job_ended (state=? AND kind=?)"),
        (lambda store: store.all_stages([1, 2]), "sqlite_autoindex_stage_1 (job_id=?)"),
        (lambda store: store.events(1), "event_job (job_id=? AND id>?)"),
        (lambda store: store.open_attempts(), "attempt_open"),
        (lambda store: store.job(1), "INTEGER PRIMARY KEY (rowid=?)"),
    ],
)
def test_found_by_an_index(many: Store, ask: Callable[[Store], object], index: str) -> None:
    assert index in plans(many, lambda: ask(many))[0]


@pytest.mark.parametrize("state", ["queued", "done", "failed"])
def test_jobs_of_a_state_are_not_looked_for_among_all(many: Store, state: str) -> None:
    (plan,) = plans(many, lambda: many.jobs(states=[state]))  # type: ignore[list-item]
    assert "SEARCH job USING INDEX" in plan
    assert "(state=?" in plan


def test_the_end_of_the_line_is_found_without_reading_it(many: Store, tmp_path: Path) -> None:
    assert "job_position" in plans(many, lambda: many.enqueue("generate", tmp_path, "one more", ["t2v"], {}))[0]


def test_sorting_is_of_two_candidates_not_of_the_line(many: Store) -> None:
    (plan,) = plans(many, lambda: many.waiting("cuda:1"))
    for part in plan.split("SEARCH job ")[1:]:
        assert part.startswith("USING COVERING INDEX job_device_line")
    assert plan.count("SEARCH job") == 2
    assert "SCAN job" not in plan


def test_asking_whether_anything_changed_reads_no_table(store: Store) -> None:
    statements: list[str] = []
    store.database.connection.set_trace_callback(statements.append)
    store.changed_since()
    store.database.connection.set_trace_callback(None)
    assert statements == ["PRAGMA data_version"]


def test_the_next_job_of_a_cluster_is_found_by_its_index(many: Store) -> None:
    (asked,) = plans(many, lambda: many.waiting("slurm"))
    assert "job_device_line (state=? AND device=?)" in asked
    assert "TEMP B-TREE" not in asked
