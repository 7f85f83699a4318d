"""A job for one device alone, the worker that is started for it, and who else is told to be on a card."""

from __future__ import annotations

from typing import Any

import pytest

from vcd_studio import devices
from vcd_studio.cli.following import start_worker
from vcd_studio.devices import Card, Process, Reading
from vcd_studio.jobs import workers
from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.processes import this_process
from vcd_studio.jobs.store import Store
from vcd_studio.jobs.workers import WorkerStatus
from vcd_studio.project.project import Project

WORKER = WorkerId(1, "1", "boot")
GIB = 2**30


@pytest.mark.parametrize(("given", "kept"), [("cuda:1", "cuda:1"), ("cuda", "cuda:0"), ("cpu", "cpu"), ("auto", None), (None, None)])
def test_a_job_keeps_its_device_and_no_other_takes_it(studio: Any, trained: Project, given: str | None, kept: str | None) -> None:
    option = ["--device", given] if given else []
    made = studio("generate", trained.path, "--prompt", "a <rex> dog", *option, "--no-worker", "--json")
    assert [job["device"] for job in made.json["jobs"]] == [kept]
    assert studio("queue", "show", "1", "--json").json["device"] == kept
    with Store() as store:
        if kept is not None:
            assert store.claim(WORKER, "cuda:7") is None
        claimed = store.claim(WORKER, kept or "cuda:7")
        assert claimed is not None
        assert claimed.id == 1


def test_a_device_that_is_none_enqueues_nothing(studio: Any, trained: Project) -> None:
    said = studio("generate", trained.path, "--prompt", "a <rex> dog", "--device", "gpu1", "--no-worker")
    assert said.code == 2
    assert '"gpu1" is no device' in said.err
    assert studio("queue", "list", "--json").json == []


@pytest.mark.parametrize(
    ("there", "wanted", "started"),
    [
        ([], {None}, ["auto"]),
        (["cpu"], {None}, []),
        (["cpu"], {"cuda:1"}, ["cuda:1"]),
        (["cuda:1"], {"cuda:1"}, []),
        ([], {None, "cuda:1", "cuda:0"}, ["cuda:0", "cuda:1"]),
    ],
)
def test_a_worker_is_started_where_none_may_take_the_jobs(
    monkeypatch: pytest.MonkeyPatch, there: list[str], wanted: set[str | None], started: list[str]
) -> None:
    living = [WorkerStatus(device, 1, "idle", None, WORKER) for device in there]
    asked: list[str] = []

    def ensure(device: str) -> WorkerStatus:
        asked.append(device)
        living.append(WorkerStatus(device, 1, "idle", None, WORKER))
        return living[-1]

    monkeypatch.setattr(workers, "status", lambda: living)
    monkeypatch.setattr(workers, "ensure_running", ensure)
    start_worker(wanted)
    assert asked == started


@pytest.fixture
def on_card_1(monkeypatch: pytest.MonkeyPatch) -> WorkerId:
    """Our worker on the second of two cards, beside a stranger; another stranger holds the first."""
    own = this_process()
    cards = (
        Card(0, "H100", "GPU-a", processes=(Process(77, "game\x1b[2J", GIB),)),
        Card(1, "H100", "GPU-b", processes=(Process(own.pid, "python", 9 * GIB), Process(88, "", None))),
    )
    monkeypatch.setattr(devices, "read_cards", lambda: Reading("580", cards))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    workers.lock_path("cuda:1").parent.mkdir(parents=True)
    with workers.lock_path("cuda:1").open("w+b") as file:
        workers.write_lock(file.fileno(), workers.Holder(own, "cuda:1"))
    return own


def test_processes_of_others_on_a_card_are_told(studio: Any, on_card_1: WorkerId) -> None:
    said = studio("worker", "status")
    assert "card 0 (H100) is also held by pid 77 game" in said.out
    assert "card 1 (H100) is also held by pid 88 (name not told) ? MiB" in said.out
    assert f"held by pid {on_card_1.pid}" not in said.out
    assert "\x1b" not in said.out
    (worker,) = studio("worker", "status", "--json").json
    assert (worker["device"], worker["foreign"]) == ("cuda:1", [{"pid": 88, "name": "", "memory": None}])


def test_the_card_is_the_one_that_cuda_means(studio: Any, on_card_1: WorkerId, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    (worker,) = studio("worker", "status", "--json").json
    assert [process["pid"] for process in worker["foreign"]] == [77]


def test_without_a_driver_nobody_else_is_told(studio: Any, on_card_1: WorkerId, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "read_cards", lambda: Reading(problem="Driver Not Loaded"))
    said = studio("worker", "status")
    assert said.code == 0
    assert "held by" not in said.out
    assert studio("worker", "status", "--json").json[0]["foreign"] is None


def test_all_starts_one_on_each_device(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "every_device", lambda: ["cuda:0", "cuda:1"])
    monkeypatch.setattr(workers, "ensure_running", lambda device: WorkerStatus(device, 1, "idle", None, WORKER))
    started = studio("worker", "start", "--all", "--json").json
    assert [worker["device"] for worker in started] == ["cuda:0", "cuda:1"]
    assert studio("worker", "start", "--all", "--device", "cpu").code == 2


def test_a_worker_without_its_card_takes_no_job(studio: Any, trained: Project) -> None:
    assert studio("generate", trained.path, "--prompt", "a dog", "--device", "cuda:99", "--no-worker").code == 0
    refused = studio("worker", "start", "--device", "cuda:99")
    assert refused.code == 2
    assert "cuda:99" in refused.err
    assert "torch sees" in refused.err
    with Store() as store:
        assert [job.state for job in store.jobs()] == ["queued"]
    assert studio("worker", "status", "--json").json == []
