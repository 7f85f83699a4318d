"""A clock that is set back while jobs run: nothing took less than no time, and nothing goes backwards."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from tests.faults.dying_worker import queue_of
from tests.faults.quick_stages import QUICK_STAGES
from tests.faults.worlds import quick_made, quick_world
from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.store import Store
from vcd_studio.worker.lease import Lease, WakeUp
from vcd_studio.worker.loop import Worker

MINUTE = 60.0


@pytest.fixture
def backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every look the clock shows a minute less than before."""
    now, looks = time.time(), itertools.count()
    monkeypatch.setattr(time, "time", lambda: now - MINUTE * next(looks))


@pytest.mark.usefixtures("backwards")
def test_jobs_stages_and_attempts_never_took_less_than_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = quick_world(tmp_path / "world")
    monkeypatch.setenv("VCD_HOME", str(world / "home"))
    with Store() as store, Lease("cpu") as lease, WakeUp("cpu") as wake_up:
        Worker(store, lease, wake_up, QUICK_STAGES).run(once=True)
    quick_made(world)
    with Store(queue_of(world)) as store:
        jobs = store.jobs()
        for job in jobs:
            assert job.seconds is not None
            assert job.seconds >= 0
            for stage in store.stages(job.id):
                assert stage.seconds is not None
                assert stage.seconds >= 0
                assert stage.rate is None or stage.rate > 0
            for attempt in store.attempts(job.id):
                assert attempt.finished is not None
                assert attempt.finished >= attempt.started
        ended = [job.finished for job in jobs if job.finished is not None]
        assert len(ended) == 3
        assert ended == sorted(ended, reverse=True)


@pytest.mark.usefixtures("backwards")
def test_one_taken_back_from_a_dead_worker_and_cancelled_ended_no_sooner_than_it_began(tmp_path: Path) -> None:
    with Store(queue_of(quick_world(tmp_path / "world"))) as store:
        store.claim(WorkerId(1, "1", "boot"), "cpu")
        store.begin_stage(1, 6)
        store.progress(1, 1, 6)
        store.progress(1, 2, 6)
        (stage,) = store.stages(1)
        assert (stage.rate, stage.eta) == (None, None)
        store.cancel(1)
        (job,) = store.recover(lambda worker: False)
        assert (job.state, job.seconds) == ("cancelled", 0.0)
        assert [attempt.outcome for attempt in store.attempts(1)] == ["crashed"]
