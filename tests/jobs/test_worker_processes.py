"""Telling processes apart, finding the device, reading who holds it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fake_nvml import FakeNvml
from vcd_studio import devices
from vcd_studio.jobs import workers
from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.processes import boot_id, id_of, is_alive, parent, start_of, this_process
from vcd_studio.jobs.store import Store
from vcd_studio.worker.lease import Lease


def test_this_process_is_alive_and_its_doubles_are_not() -> None:
    own = this_process()
    assert own.pid == os.getpid()
    assert own.boot == boot_id()
    assert is_alive(own)
    assert not is_alive(replace(own, start="1"))
    assert not is_alive(replace(own, boot="another boot"))


def test_a_process_that_ended_but_was_not_yet_collected_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", "print()"], stdout=subprocess.PIPE)
    started = start_of(process.pid)
    assert started is not None
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, left as a zombie
    assert start_of(process.pid) is None
    process.communicate()
    assert start_of(process.pid) is None


def test_auto_is_the_cpu_where_cards_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert workers.resolve_device("auto") == "cpu"
    assert [workers.resolve_device(device) for device in ("cpu", "cuda", "cuda:1")] == ["cpu", "cuda:0", "cuda:1"]
    for wrong in ("gpu", "cuda:", "cuda:x", "../cpu", ""):
        with pytest.raises(workers.InputError, match="is no device"):
            workers.resolve_device(wrong)


def test_a_front_end_takes_back_what_a_dead_worker_left(store: Store, tmp_path: Path) -> None:
    dead, alive = (store.enqueue("segment", tmp_path, "masks", ["segment"], {}) for _ in range(2))
    store.claim(replace(this_process(), boot="before the power cut"), "cpu")
    store.claim(this_process(), "cpu")
    assert [job.id for job in workers.recover(store)] == [dead.id]
    assert [store.job(job.id).state for job in (dead, alive)] == ["queued", "running"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_a_lock_file_without_a_holder_names_nobody(studio_home: Path, content: str) -> None:
    workers.lock_path("cpu").parent.mkdir(parents=True)
    workers.lock_path("cpu").write_text(content)
    assert workers.status() == []


def test_a_worker_that_ended_without_a_word_is_shown_dead(studio_home: Path) -> None:
    workers.lock_path("cuda:0").parent.mkdir(parents=True)
    workers.lock_path("cuda:0").write_text(json.dumps({"pid": 1, "start": "0", "boot": "before", "device": "cuda:0"}))
    (status,) = workers.status()
    assert (status.device, status.state, status.id) == ("cuda:0", "dead", WorkerId(1, "0", "before"))


def test_waking_needs_nobody_there_and_reaches_who_is(studio_home: Path) -> None:
    workers.wake()
    workers.wake_path("cpu").parent.mkdir(parents=True)
    os.mkfifo(workers.wake_path("cpu"))
    workers.wake()
    listener = os.open(workers.wake_path("cpu"), os.O_RDONLY | os.O_NONBLOCK)
    try:
        workers.wake()
        assert os.read(listener, 1), "a waiting worker is told"
    finally:
        os.close(listener)


def test_the_queue_and_the_worker_load_no_torch_before_a_stage_runs() -> None:
    modules = "vcd_studio.jobs.enqueue, vcd_studio.jobs.workers, vcd_studio.worker.loop, vcd_studio.worker.keeper"
    code = f"import sys, {modules}; print(sorted({{'torch', 'textual'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "[]"


def cards(monkeypatch: pytest.MonkeyPatch, *uuids: str) -> None:
    """A machine with these cards, none of them hidden."""
    fake = FakeNvml(*({"uuid": uuid} for uuid in uuids))
    monkeypatch.setattr(devices, "_nvml", lambda: fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)


def test_two_names_for_one_card_are_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, "GPU-a", "GPU-b")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with Lease("cuda:0"):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        assert [(worker.device, worker.state) for worker in workers.status()] == [("cuda:0", "idle")]
        with pytest.raises(workers.WorkerRunning, match=rf"already runs on cuda:1 \(pid {os.getpid()}\)"), Lease("cuda:1"):
            pass
        there = workers.living_on("cuda:1")
        assert there is not None
        assert workers.ensure_running("cuda:1") == there
        assert workers.living_on("cuda:0") is None
    assert workers.status() == []


def test_one_name_for_two_cards_is_two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, "GPU-a", "GPU-b")
    with Lease("cuda:0"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b")
        with Lease("cuda:0"), Lease("cpu"):
            assert [worker.device for worker in workers.status()] == ["cpu", "cuda:0", "cuda:0"]
            assert workers.lock_path("cpu").name == "cpu.lock"


@pytest.mark.parametrize("why", ["no driver", "another order"])
def test_where_the_card_is_not_told_its_name_is_held(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, "GPU-a")
    if why == "no driver":
        monkeypatch.setattr(devices, "_nvml", lambda: FakeNvml(refuse={"nvmlInit": "Driver Not Loaded"}))
    else:
        monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert workers.lock_path("cuda:0").name == "cuda-0.lock"


def test_every_device_is_each_card_that_cuda_counts_or_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, "GPU-a", "GPU-b", "GPU-c")
    monkeypatch.setattr(workers, "resolve_device", lambda: "cuda:0")
    assert workers.every_device() == ["cuda:0", "cuda:1", "cuda:2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert workers.every_device() == ["cuda:0", "cuda:1"]
    monkeypatch.setattr(workers, "resolve_device", lambda: "cpu")
    assert workers.every_device() == ["cpu"]


def test_one_that_comes_too_late_waits_for_the_holders_name(monkeypatch: pytest.MonkeyPatch) -> None:
    workers.lock_path("cpu").parent.mkdir(parents=True)
    with workers.lock_path("cpu").open("w+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        workers.write_lock(file.fileno(), workers.Holder(WorkerId(1, "0", "before"), "cpu"))  # of one that died
        looks = iter(range(3))

        def name_itself(seconds: float) -> None:
            if next(looks) == 2:
                workers.write_lock(file.fileno(), workers.Holder(this_process(), "cpu"))

        monkeypatch.setattr(time, "sleep", name_itself)
        with pytest.raises(workers.WorkerRunning, match=rf"pid {os.getpid()}"), Lease("cpu"):
            pass


def test_a_lock_that_cannot_be_written_is_one_sentence_with_its_name(studio_home: Path) -> None:
    studio_home.mkdir()
    (studio_home / "state").touch()
    with pytest.raises(workers.InputError, match=r"workers/cpu\.lock cannot be written \(not a directory\); free some space"), Lease("cpu"):
        pass


def test_a_parent_is_the_one_that_was_named_and_no_stand_in() -> None:
    assert parent(os.getppid()) == id_of(os.getppid())
    assert parent(1 if os.getppid() != 1 else 2) is None
    assert parent(None) is None
