"""A machine that died under a worker: its files come up under another boot, where a process may well have the dead one's number."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults.quick_stages import QUICK_STAGES
from tests.faults.worlds import quick_world
from vcd_studio.jobs import processes, workers
from vcd_studio.jobs.store import Store
from vcd_studio.worker.lease import Lease, WakeUp
from vcd_studio.worker.loop import Worker


def test_after_another_boot_its_worker_is_dead_and_the_next_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, copy = quick_world(tmp_path / "world"), tmp_path / "copy"
    monkeypatch.setenv("VCD_HOME", str(world / "home"))
    with Store() as store, Lease("cpu") as lease:
        job = store.claim(lease.worker, "cpu")
        assert job is not None
        store.begin_stage(store.stages(job.id)[0].id, 6)
        shutil.copytree(world / "home", copy / "home")
    monkeypatch.setenv("VCD_HOME", str(copy / "home"))
    assert [worker.state for worker in workers.status()] == ["running"]  # this very process: only the boot tells it from the dead one
    monkeypatch.setattr(processes, "boot_id", lambda: "the next boot")
    assert [(worker.device, worker.state) for worker in workers.status()] == [("cpu", "dead")]
    with Store() as store, Lease("cpu") as lease, WakeUp("cpu") as wake_up:
        Worker(store, lease, wake_up, QUICK_STAGES).run(once=True)
        assert [attempt.outcome for attempt in store.attempts(job.id)] == ["crashed", "done"]
        assert [each.state for each in store.jobs()] == ["done"] * 3
    assert workers.status() == []
