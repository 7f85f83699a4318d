"""A disk full after any number of bytes: a clear word, what was finished stays, and with room again everything comes out as ever."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.faults.dying_worker import run_worker
from tests.faults.small_disk import NoMountsHere, Outcome, run_on_small_disk, save_on_full_disk
from tests.faults.worlds import film, film_made, quick_made, quick_world
from tests.worker.tiny_pack import save_tiny_pack
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.worker.checkpoints import save_checkpoint

PAGE = 4096
SAID = re.compile(r"disk is full|no space left on device", re.IGNORECASE)


def on_small_disk(world: Path, disk: str, spare: int, *, quick: bool = True) -> Outcome:
    try:
        return run_on_small_disk(world, disk, spare, quick=quick)
    except NoMountsHere:
        pytest.skip("this machine lets nobody mount a tmpfs")


def look_at(outcome: Outcome, spare: int) -> None:
    for job in outcome.jobs:
        assert job.state == "done" or (job.state == "failed" and SAID.search(job.error)), (spare, job)
        assert "unexpectedly" not in job.error, (spare, job)
        assert job.missing == [], (spare, job)


def test_under_the_project_of_quick_stages(tmp_path: Path) -> None:
    usual = quick_world(tmp_path / "usual")
    assert run_worker(usual, quick=True) == 0
    failures = 0
    for spare in range(PAGE, 16 * PAGE, PAGE):
        world = quick_world(tmp_path / str(spare))
        outcome = on_small_disk(world, "film", spare)
        assert (outcome.full, outcome.roomy) == (0, 0), spare
        look_at(outcome, spare)
        failures += any(job.state == "failed" for job in outcome.jobs)
        assert quick_made(world) == quick_made(usual), spare
    assert failures > 5


@pytest.mark.slow
def test_under_the_project_of_the_shipped_stages(tmp_path: Path) -> None:
    pack = save_tiny_pack(tmp_path / "pack")
    usual = film(tmp_path / "usual", pack)
    assert run_worker(usual) == 0
    for spare in (2, 9, 20, 34):
        world = film(tmp_path / str(spare), pack)
        outcome = on_small_disk(world, "film", spare * PAGE, quick=False)
        assert (outcome.full, outcome.roomy) == (0, 0), spare
        look_at(outcome, spare)
        assert film_made(world) == film_made(usual), spare


def large_checkpoint(disk: Path) -> None:
    save_checkpoint(disk, {"moments": torch.zeros(100_000)})


def large_tokens(disk: Path) -> None:
    IdTokens("<rex>", "dog", torch.zeros(100, 1000)).save(disk / "tokens.safetensors")


@pytest.mark.parametrize("save", [large_checkpoint, large_tokens])
def test_under_one_large_file_of_a_library_that_hides_the_cause(save: Callable[[Path], None], tmp_path: Path) -> None:
    try:
        told = save_on_full_disk(tmp_path / "world", save)
    except NoMountsHere:
        pytest.skip("this machine lets nobody mount a tmpfs")
    assert told == "The disk is full (stage train); free some space and retry the job: finished stages are kept."


def test_under_the_queue_the_worker_holds_on_and_no_job_is_blamed(tmp_path: Path) -> None:
    usual = quick_world(tmp_path / "usual")
    assert run_worker(usual, quick=True) == 0
    held, refused = 0, 0
    for spare in range(0, 60 * PAGE, 5 * PAGE):
        world = quick_world(tmp_path / str(spare))
        outcome = on_small_disk(world, "home/state", spare)
        said = (world / "worker.log").read_text()
        held, refused = held + outcome.held, refused + bool(outcome.full)
        if outcome.held:
            assert outcome.full == 0, (spare, said)
            assert [(job.state, job.crashes) for job in outcome.jobs] == [("done", 0)] * 3, (spare, said)
        if outcome.held or outcome.full:
            assert re.search(r"(The queue .* disk is full|\(no space left on device\)); free some space", said), (spare, said)
            assert "Traceback" not in said, (spare, said)
        assert all(job.crashes == 0 for job in outcome.jobs), (spare, said)
        assert outcome.roomy == 0, spare
        assert quick_made(world) == quick_made(usual), spare
    assert held > 2
    assert refused
