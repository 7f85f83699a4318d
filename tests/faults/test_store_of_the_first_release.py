"""A queue that the first release wrote, a job in every state, and today's worker on it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.faults.dying_worker import queue_of, run_worker
from vcd_studio.jobs.store import Store

WRITTEN = Path(__file__).with_name("first-release.sql")
STATES = {
    "training": "done",
    "clip 1": "failed",
    "clip 2": "set-aside",
    "clip 3": "cancelled",
    "clip 4": "paused",
    "clip 5": "running",
    "clip 6": "queued",
}


def states(world: Path) -> dict[str, str]:
    with Store(queue_of(world)) as store:
        return {job.title: job.state for job in store.jobs()}


def test_todays_worker_takes_up_what_ran_and_waited_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "film").mkdir()
    queue_of(tmp_path).parent.mkdir(parents=True)
    with sqlite3.connect(queue_of(tmp_path)) as connection:
        connection.executescript(WRITTEN.read_text(encoding="utf-8").replace("/film", str(tmp_path / "film")))
    assert states(tmp_path) == STATES
    assert run_worker(tmp_path, quick=True) == 0
    assert states(tmp_path) == {**STATES, "clip 5": "done", "clip 6": "done"}
    with Store(queue_of(tmp_path)) as store:
        taken_up = next(job for job in store.jobs() if job.title == "clip 5")
        assert [attempt.outcome for attempt in store.attempts(taken_up.id)] == ["crashed", "done"]
        for job in store.jobs():
            if job.state == "paused":
                store.resume(job.id)
            elif job.state != "done":
                store.retry(job.id)
    assert run_worker(tmp_path, quick=True) == 0
    assert states(tmp_path) == dict.fromkeys(STATES, "done")
