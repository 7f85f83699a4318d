"""A worker that dies is started again by its keeper, without anybody's doing; one that ends for a reason is not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vcd_studio.jobs import workers
from vcd_studio.jobs.store import Store

if TYPE_CHECKING:
    from conftest import Gate, Put, StartWorker

DIES_HOLDING = """
import os
from vcd_studio.jobs.processes import id_of
from vcd_studio.worker.lease import Lease
with Lease("cpu", id_of(os.getppid())):
    os._exit(3)
"""


def test_a_job_that_kills_its_worker_every_time_is_set_aside_and_the_queue_goes_on_by_itself(
    store: Store, put: Put, start_kept: StartWorker
) -> None:
    bad, good = put(t2v=[["step", 1], ["die"]]), put()
    keeper = start_kept("--once")
    assert keeper.ends() == 0
    assert [store.job(job.id).state for job in (bad, good)] == ["set-aside", "done"]
    assert [attempt.outcome for attempt in store.attempts(bad.id)] == ["crashed", "crashed"]
    assert [line.partition("on cpu ")[2] for line in keeper.said if "starts again" in line] == [
        "was ended by signal 9 (Killed); it starts again in 1 s",
        "was ended by signal 9 (Killed); it starts again in 2 s",
    ]


def test_a_worker_out_of_memory_after_other_work_makes_room_for_a_fresh_one(
    store: Store, put: Put, start_kept: StartWorker, tmp_path: Path
) -> None:
    before, large = put(), put(t2v=[["full", str(tmp_path / "full")]])
    keeper = start_kept("--once")
    assert keeper.ends() == 0
    assert [store.job(job.id).state for job in (before, large)] == ["done", "done"]
    assert [attempt.outcome for attempt in store.attempts(large.id)] == ["requeued", "done"]
    assert store.job(large.id).result["relief"]["t2v"]["fresh_process"] is True


@pytest.mark.parametrize("whom", ["keeper", "worker"])
def test_asked_to_end_either_ends_both_and_the_job_goes_back_into_the_line(
    store: Store, put: Put, start_kept: StartWorker, gate: Gate, whom: str
) -> None:
    job = put(t2v=[["gate", str(gate)], ["step", 3]])
    keeper = start_kept()
    keeper.wait_for("at the gate")
    (status,) = workers.status(store)
    assert status.state == "running"
    assert status.pid != keeper.process.pid
    os.kill(keeper.process.pid if whom == "keeper" else status.pid, signal.SIGTERM)
    gate.open()
    assert keeper.ends() == 0
    assert store.job(job.id).state == "queued"
    assert [attempt.outcome for attempt in store.attempts(job.id)] == ["requeued"]
    assert workers.status() == []


def test_kill_9_of_the_keeper_leaves_the_worker_at_its_work(store: Store, put: Put, start_kept: StartWorker, gate: Gate) -> None:
    job = put(t2v=[["gate", str(gate)]])
    keeper = start_kept()
    keeper.wait_for("at the gate")
    keeper.kill()
    assert [worker.state for worker in workers.status(store)] == ["running"]
    gate.open()
    keeper.wait_for(f"job {job.id} · save: finished")
    assert [worker.state for worker in workers.stop()] == ["dead"]
    assert workers.status() == []


def test_while_it_pauses_the_worker_is_restarting_and_can_be_stopped(start_kept: StartWorker) -> None:
    keeper = start_kept(worker=("-c", DIES_HOLDING))
    keeper.wait_for("ended with exit code 3; it starts again in 4 s")
    (status,) = workers.status()
    assert (status.state, status.pid, status.job) == ("restarting", keeper.process.pid, None)
    assert [worker.state for worker in workers.stop()] == ["dead"]
    assert keeper.ends() == 0


def test_one_that_finds_its_device_taken_is_not_started_again(start_worker: StartWorker, start_kept: StartWorker) -> None:
    first = start_worker()
    first.wait_for("holds cpu")
    keeper = start_kept()
    assert keeper.ends() == 2
    assert [line for line in keeper.said if line] == [str(workers.already_running("cpu", first.process.pid))]


def test_one_that_never_came_to_hold_its_device_is_not_started_again(start_kept: StartWorker) -> None:
    keeper = start_kept(worker=("-c", "raise SystemExit(5)"))
    assert keeper.ends() == 5
    assert keeper.said == []


def test_a_started_worker_that_is_killed_is_there_again(studio_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    killed = workers.start("cpu")
    os.kill(killed.pid, signal.SIGKILL)
    until = time.monotonic() + workers.START_SECONDS
    while [(worker.state, worker.pid != killed.pid) for worker in workers.status()] != [("idle", True)]:
        assert time.monotonic() < until
        time.sleep(0.02)
    workers.stop()
    assert workers.status() == []
