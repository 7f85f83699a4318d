"""Telling processes apart, finding the device, reading who holds it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vcd_studio.jobs import workers
from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.processes import boot_id, is_alive, start_of, this_process
from vcd_studio.jobs.store import Store


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
