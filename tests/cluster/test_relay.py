"""Jobs handed to Slurm: a real relay and real workers on the "nodes", with stages that do nothing; Slurm itself is a fake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cluster.conftest import Put, Slurm, StartRelay, becomes, log_of
from vcd_studio.jobs import workers
from vcd_studio.jobs.store import Store


def gate(path: Path) -> Path:
    os.mkfifo(path)
    return path


def open_gate(path: Path) -> None:
    """Let the stage that waits there go on (blocks until it waits)."""
    path.open("wb").close()


def test_what_the_node_tells_comes_into_the_queue(store: Store, put: Put, slurm: Slurm, start_relay: StartRelay) -> None:
    job = put(t2v=[["step", 4]])
    assert start_relay("--once").ends() == 0
    done = store.job(job.id)
    assert done.state == "done"
    stages = store.stages(job.id)
    assert [(stage.state, stage.artefact) for stage in stages] == [
        ("done", str(job.project / f"made by {name}")) for name in ("t2v", "face", "save")
    ]  # fmt: skip
    assert (stages[0].step, stages[0].steps) == (10, 10)
    log = log_of(store, job)
    assert f"this is slurm's job {slurm.numbers[0]}" in log
    assert "takes the job" in log
    assert "t2v: finished" in log
    assert log.count("save: finished") == 1


def test_progress_is_seen_while_it_runs(store: Store, put: Put, start_relay: StartRelay, tmp_path: Path) -> None:
    way = gate(tmp_path / "gate")
    job = put(t2v=[["step", 3], ["gate", str(way)], ["step", 2]])
    start_relay()
    becomes(lambda: "at the gate" in log_of(store, job))
    becomes(lambda: store.stages(job.id)[0].state == "running")
    assert store.job(job.id).state == "running"
    assert [attempt.device for attempt in store.attempts(job.id)] == ["slurm"]
    open_gate(way)
    becomes(lambda: store.job(job.id).state == "done")


def test_many_are_in_slurm_at_once(store: Store, put: Put, slurm: Slurm, start_relay: StartRelay) -> None:
    slurm.hold()
    jobs = [put() for _ in range(3)]
    start_relay()
    becomes(lambda: len(slurm.numbers) == 3)
    assert {store.job(job.id).state for job in jobs} == {"running"}
    slurm.let_go()
    becomes(lambda: all(store.job(job.id).state == "done" for job in jobs))


def test_no_more_than_settings_allow(
    store: Store, put: Put, slurm: Slurm, start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VCD_CLUSTER", json.dumps({**json.loads(os.environ["VCD_CLUSTER"]), "at_once": 1}))
    slurm.hold()
    first, second = put(), put()
    start_relay().wait_for("is slurm")
    assert (store.job(first.id).state, store.job(second.id).state) == ("running", "queued")
    slurm.let_go()
    becomes(lambda: store.job(second.id).state == "done")


def test_jobs_for_any_device_are_left_alone(store: Store, slurm: Slurm, start_relay: StartRelay, tmp_path: Path) -> None:
    job = store.enqueue("generate", tmp_path, "a clip", ["t2v"], {})
    assert start_relay("--once").ends() == 0
    assert store.job(job.id).state == "queued"
    assert slurm.numbers == []


def test_cancelling_one_that_waits_cancels_that_one_in_slurm(store: Store, put: Put, slurm: Slurm, start_relay: StartRelay) -> None:
    slurm.hold()
    first, second = put(), put()
    start_relay()
    becomes(lambda: len(slurm.numbers) == 2)
    store.cancel(first.id)
    becomes(lambda: store.job(first.id).state == "cancelled")
    assert slurm.state("1").startswith("CANCELLED")
    slurm.let_go()
    becomes(lambda: store.job(second.id).state == "done")


def test_cancelling_one_that_runs_ends_it_after_its_step(store: Store, put: Put, start_relay: StartRelay, tmp_path: Path) -> None:
    way, record = gate(tmp_path / "gate"), tmp_path / "record"
    job = put(t2v=[["gate", str(way)], ["record", str(record)]])
    start_relay()
    becomes(lambda: "at the gate" in log_of(store, job))
    store.cancel(job.id)
    becomes(lambda: any(tmp_path.glob("shared/*/job-*/request")))
    open_gate(way)
    becomes(lambda: store.job(job.id).state == "cancelled")
    assert not record.exists()
    assert "cancelled by a person" in log_of(store, job)


def test_paused_and_resumed_it_goes_on_after_its_finished_stages(
    store: Store, put: Put, slurm: Slurm, start_relay: StartRelay, tmp_path: Path
) -> None:
    way, record = gate(tmp_path / "gate"), tmp_path / "record"
    job = put(t2v=[["record", str(record)]], face=[["gate", str(way)], ["record", str(record)]])
    start_relay()
    becomes(lambda: "at the gate" in log_of(store, job))
    store.pause(job.id)
    becomes(lambda: any(tmp_path.glob("shared/*/job-*/request")))
    open_gate(way)
    becomes(lambda: store.job(job.id).state == "paused")
    store.resume(job.id)
    workers.wake()
    becomes(lambda: len(slurm.numbers) == 2)
    open_gate(way)
    becomes(lambda: store.job(job.id).state == "done")
    assert record.read_text().split() == ["t2v", "face"]


def test_a_relay_killed_and_started_again_finds_its_job_in_slurm(
    store: Store, put: Put, slurm: Slurm, start_relay: StartRelay, tmp_path: Path
) -> None:
    way = gate(tmp_path / "gate")
    job = put(t2v=[["gate", str(way)]])
    for _ in range(3):  # as often as one likes: it says nothing against the job
        relay = start_relay()
        relay.wait_for("slurm 1")
        becomes(lambda: "at the gate" in log_of(store, job))
        relay.kill()
    open_gate(way)
    becomes(lambda: slurm.state("1") == "COMPLETED")
    assert start_relay("--once").ends() == 0
    assert store.job(job.id).state == "done"
    assert slurm.numbers == ["1"]
    assert log_of(store, job).count("at the gate") == 1


def test_a_relay_asked_to_end_leaves_its_jobs_to_slurm(
    store: Store, put: Put, slurm: Slurm, start_relay: StartRelay, tmp_path: Path
) -> None:
    way = gate(tmp_path / "gate")
    job = put(t2v=[["gate", str(way)]])
    relay = start_relay()
    becomes(lambda: "at the gate" in log_of(store, job))
    relay.process.send_signal(signal.SIGTERM)
    assert relay.ends() == 0
    assert store.job(job.id).state == "queued"
    open_gate(way)
    assert start_relay("--once").ends() == 0
    assert store.job(job.id).state == "done"
    assert slurm.numbers == ["1"]


def test_cancelled_while_no_relay_runs_it_ends_in_slurm_when_one_does(
    store: Store, put: Put, slurm: Slurm, start_relay: StartRelay
) -> None:
    slurm.hold()
    job = put()
    relay = start_relay()
    becomes(lambda: slurm.numbers == ["1"])
    relay.process.send_signal(signal.SIGTERM)
    assert relay.ends() == 0
    store.cancel(job.id)
    assert start_relay("--once").ends() == 0
    assert slurm.state("1").startswith("CANCELLED")


def test_preempted_it_goes_on_where_it_was(store: Store, put: Put, slurm: Slurm, start_relay: StartRelay, tmp_path: Path) -> None:
    way, record = gate(tmp_path / "gate"), tmp_path / "record"
    job = put(t2v=[["record", str(record)]], face=[["gate", str(way)], ["record", str(record)]])
    start_relay()
    becomes(lambda: "at the gate" in log_of(store, job))
    subprocess.run(["scancel", "1", "--signal", "USR2"], check=True)
    open_gate(way)  # the step in hand ends, and with it the worker
    becomes(lambda: log_of(store, job).count("at the gate") == 2)
    open_gate(way)
    becomes(lambda: store.job(job.id).state == "done")
    assert record.read_text().split() == ["t2v", "face"]
    assert slurm.numbers == ["1"]
    assert "face stopped: the worker was asked to end" in log_of(store, job)


@pytest.mark.parametrize(("said", "told"), [("OUT_OF_MEMORY", "more memory than it was given"), ("NODE_FAIL", "its node failed")])
def test_a_job_that_dies_on_its_node_fails_with_the_reason(
    store: Store, put: Put, slurm: Slurm, start_relay: StartRelay, tmp_path: Path, said: str, told: str
) -> None:
    job = put(t2v=[["gate", str(gate(tmp_path / "gate"))]])
    start_relay()
    becomes(lambda: "at the gate" in log_of(store, job))
    slurm.will_say("1", said)
    os.kill(slurm.pid("1"), signal.SIGKILL)
    becomes(lambda: store.job(job.id).state == "failed")
    assert told in (store.job(job.id).error or "")
    assert "Slurm's job 1" in (store.job(job.id).error or "")


def test_a_stage_that_fails_fails_the_job_and_a_retry_is_another_job_of_slurm(
    store: Store, put: Put, slurm: Slurm, start_relay: StartRelay, tmp_path: Path
) -> None:
    job = put(t2v=[["record", str(tmp_path / "record")]], face=[["fail-input", str(tmp_path / "marker")]])
    assert start_relay("--once").ends() == 0
    assert store.job(job.id).error == "The photo is gone; put it back."
    store.retry(job.id)
    assert start_relay("--once").ends() == 0
    assert store.job(job.id).state == "done"
    assert (tmp_path / "record").read_text().split() == ["t2v"]
    assert slurm.numbers == ["1", "2"]


def test_slurm_refuses_the_job(store: Store, put: Put, slurm: Slurm, start_relay: StartRelay) -> None:
    slurm.refuse("sbatch: error: invalid partition specified: gpu\n")
    job = put()
    assert start_relay("--once").ends() == 0
    assert "invalid partition specified: gpu" in (store.job(job.id).error or "")


def test_a_project_that_the_node_does_not_see(store: Store, start_relay: StartRelay, tmp_path: Path) -> None:
    job = store.enqueue("generate", tmp_path / "elsewhere", "a clip", ["t2v"], {}, device="slurm")
    assert start_relay("--once").ends() == 0
    assert f"does not see {tmp_path / 'elsewhere'}" in (store.job(job.id).error or "")


def test_settings_reach_sbatch(store: Store, put: Put, slurm: Slurm, start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {"partition": "gpu", "gpus": 0, "minutes": 90, "memory": 24, "options": {"account": "film lab"}, "setup": ["export FROM=setup"]}
    monkeypatch.setenv("VCD_CLUSTER", json.dumps({**json.loads(os.environ["VCD_CLUSTER"]), **more}))
    job = put()
    assert start_relay("--once").ends() == 0
    script = slurm.script("1")
    for line in ("--partition=gpu", "--time=90", "--mem=24GB", "--account='film lab'", f"--job-name=vcd-{job.id}"):
        assert f"#SBATCH {line}\n" in script
    assert "\nexport FROM=setup\n" in script


def test_two_relays_never_share_a_queue(start_relay: StartRelay) -> None:
    start_relay().wait_for("holds slurm")
    second = start_relay()
    second.wait_for("A worker already runs on slurm")
    assert second.ends() == 2
