"""A real worker process: killed, stopped, crashed, cancelled, doubled. Whatever happens to it, the queue stays right."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vcd_studio.jobs import workers
from vcd_studio.jobs.model import JobState
from vcd_studio.jobs.store import Store

if TYPE_CHECKING:
    from conftest import Gate, Put, StartWorker


def states(store: Store, *job_ids: int) -> list[JobState]:
    return [store.job(job_id).state for job_id in job_ids]


def test_a_job_runs_through_its_stages_and_says_so(store: Store, put: Put, start_worker: StartWorker, tmp_path: Path) -> None:
    job = put(t2v=[["step", 3]], face=[["step", 2]])
    worker = start_worker("--once")
    assert worker.ends() == 0
    assert states(store, job.id) == ["done"]
    assert [(stage.state, stage.artefact) for stage in store.stages(job.id)] == [
        ("done", str(tmp_path / "made by t2v")),
        ("done", str(tmp_path / "made by face")),
        ("done", str(tmp_path / "made by save")),
    ]
    assert [event.text for event in store.events(job.id)][1:3] == ["t2v: begins", "t2v: finished"]
    assert [attempt.outcome for attempt in store.attempts(job.id)] == ["done"]
    assert workers.status() == []


def test_after_kill_9_the_next_worker_goes_on_from_the_last_finished_stage(
    store: Store, put: Put, start_worker: StartWorker, gate: Gate, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    job = put(t2v=[["record", str(ran)]], face=[["record", str(ran)], ["step", 2], ["gate", str(gate)]], save=[["record", str(ran)]])
    first = start_worker()
    first.wait_for("at the gate")
    first.kill()
    assert states(store, job.id) == ["running"]
    assert [worker.state for worker in workers.status()] == ["dead"]
    second = start_worker("--once")
    second.wait_for("was finished by an earlier attempt")
    gate.open()
    assert second.ends() == 0
    assert states(store, job.id) == ["done"]
    assert ran.read_text().split() == ["t2v", "face", "face", "save"]
    assert [attempt.outcome for attempt in store.attempts(job.id)] == ["crashed", "done"]


def test_a_job_that_kills_its_worker_twice_is_set_aside_and_the_queue_goes_on(
    store: Store, put: Put, start_worker: StartWorker, gate: Gate
) -> None:
    bad, good = put(t2v=[["gate", str(gate)]]), put()
    for _ in range(2):
        worker = start_worker()
        worker.wait_for("at the gate")
        worker.kill()
    assert start_worker("--once").ends() == 0
    assert states(store, bad.id, good.id) == ["set-aside", "done"]
    error = store.job(bad.id).error
    assert error is not None
    assert "2 times" in error
    assert "stage t2v" in error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_it_finishes_the_step_puts_the_job_back_and_leaves_cleanly(
    store: Store, put: Put, start_worker: StartWorker, gate: Gate, number: int
) -> None:
    job = put(t2v=[["step", 1]], face=[["gate", str(gate)], ["step", 3]])
    worker = start_worker()
    worker.wait_for("at the gate")
    worker.process.send_signal(number)
    gate.open()
    assert worker.ends() == 0
    assert states(store, job.id) == ["queued"]
    assert [stage.state for stage in store.stages(job.id)] == ["done", "queued", "queued"]
    assert (store.job(job.id).crashes, [attempt.outcome for attempt in store.attempts(job.id)]) == (0, ["requeued"])
    assert workers.status() == []


def test_an_idle_worker_ends_at_once_when_asked(start_worker: StartWorker) -> None:
    worker = start_worker()
    worker.wait_for("holds cpu")
    worker.process.terminate()
    assert worker.ends() == 0


def test_cancel_ends_exactly_one_job(store: Store, put: Put, start_worker: StartWorker, gate: Gate) -> None:
    running, waiting, other = put(t2v=[["gate", str(gate)], ["step", 5]]), put(), put()
    worker = start_worker("--once")
    worker.wait_for("at the gate")
    store.cancel(running.id)
    gate.open()
    assert worker.ends() == 0
    assert states(store, running.id, waiting.id, other.id) == ["cancelled", "done", "done"]


def test_pause_lets_others_go_on_and_resume_finishes_it(store: Store, put: Put, start_worker: StartWorker, gate: Gate) -> None:
    paused, other = put(t2v=[["step", 1]], face=[["gate", str(gate)]]), put()
    worker = start_worker("--once")
    worker.wait_for("at the gate")
    store.pause(paused.id)
    gate.open()
    assert worker.ends() == 0
    assert states(store, paused.id, other.id) == ["paused", "done"]
    store.resume(paused.id)
    again = start_worker("--once")
    gate.open()
    assert again.ends() == 0
    assert states(store, paused.id) == ["done"]


def test_a_failure_is_one_sentence_with_its_traceback_and_retry_keeps_what_was_done(
    store: Store, put: Put, start_worker: StartWorker, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    job = put(t2v=[["record", str(ran)]], face=[["record", str(ran)], ["fail-input", str(tmp_path / "marker")]])
    broken = put(t2v=[["fail-once", str(tmp_path / "other")]])
    good = put()
    assert start_worker("--once").ends() == 0
    assert states(store, job.id, broken.id, good.id) == ["failed", "failed", "done"]
    failed, unexpected = store.job(job.id), store.job(broken.id)
    assert failed.error == "The photo is gone; put it back."
    assert failed.traceback is not None
    assert "InputError" in failed.traceback
    assert unexpected.error == "Stage t2v failed unexpectedly (ZeroDivisionError: by zero)."
    store.retry(job.id)
    assert start_worker("--once").ends() == 0
    assert states(store, job.id) == ["done"]
    assert ran.read_text().split() == ["t2v", "face", "face"]


def test_a_finished_stage_whose_artefact_is_gone_is_done_again(
    store: Store, put: Put, start_worker: StartWorker, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    record, fail_once = ["record", str(ran)], ["fail-input", str(tmp_path / "marker")]
    job = put(t2v=[record], face=[record], save=[record, fail_once])
    assert start_worker("--once").ends() == 0
    assert states(store, job.id) == ["failed"]
    (tmp_path / "made by t2v").unlink()
    store.retry(job.id)
    assert start_worker("--once").ends() == 0
    assert states(store, job.id) == ["done"]
    assert ran.read_text().split() == ["t2v", "face", "save", "t2v", "save"]


def test_a_second_worker_on_the_same_device_is_refused_by_pid(start_worker: StartWorker) -> None:
    first = start_worker()
    first.wait_for("holds cpu")
    second = start_worker()
    assert second.ends() == 2
    assert f"A worker already runs on cpu (pid {first.process.pid})" in second.said[-1]
    assert [(worker.pid, worker.state) for worker in workers.status()] == [(first.process.pid, "idle")]


def test_kill_9_frees_the_device(start_worker: StartWorker) -> None:
    first = start_worker()
    first.wait_for("holds cpu")
    first.kill()
    assert [worker.state for worker in workers.status()] == ["dead"]
    second = start_worker()
    second.wait_for("holds cpu")
    assert [(worker.pid, worker.state) for worker in workers.status()] == [(second.process.pid, "idle")]


def test_status_names_the_job_in_hand(store: Store, put: Put, start_worker: StartWorker, gate: Gate) -> None:
    job = put(t2v=[["gate", str(gate)]])
    worker = start_worker("--once")
    worker.wait_for("at the gate")
    (status,) = workers.status(store)
    assert (status.device, status.pid, status.state) == ("cpu", worker.process.pid, "running")
    assert status.job is not None
    assert status.job.id == job.id
    gate.open()
    assert worker.ends() == 0


def test_an_idle_worker_is_woken_by_a_new_job(store: Store, put: Put, start_worker: StartWorker) -> None:
    worker = start_worker()
    worker.wait_for("holds cpu")
    job = put()
    workers.wake()
    worker.wait_for(f"job {job.id} · save: finished")


def test_a_job_of_a_dead_worker_is_taken_over_by_one_that_was_idle(store: Store, put: Put, start_worker: StartWorker, gate: Gate) -> None:
    job = put(t2v=[["gate", str(gate)]])
    first = start_worker()
    first.wait_for("at the gate")
    other = Store()
    with other:
        first.kill()
        second = start_worker()
        second.wait_for("was left by a dead worker")
        gate.open()
        second.wait_for(f"job {job.id} · save: finished")


def test_the_shipped_worker_starts_detached_is_refused_twice_and_stops(studio_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    started = workers.start("auto")
    try:
        assert (started.device, started.state) == ("cpu", "idle")
        assert os.getsid(started.pid) == started.pid  # its own session: it outlives the terminal
        with pytest.raises(workers.WorkerRunning, match=f"pid {started.pid}"):
            workers.start("cpu")
        assert workers.ensure_running("cpu").pid == started.pid
    finally:
        stopped = workers.stop()
    assert [(worker.pid, worker.state) for worker in stopped] == [(started.pid, "dead")]
    assert workers.status() == []
    assert "holds cpu" in workers.log_path("cpu").read_text()
    with pytest.raises(workers.InputError, match="nothing to stop"):
        workers.stop()
