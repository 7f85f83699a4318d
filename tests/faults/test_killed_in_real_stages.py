"""The shipped stages on tiny networks, killed: the tokens and frames are those of a run that nobody disturbed."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.faults.dying_worker import KILLED, instants_of, run_worker
from tests.faults.worlds import film, film_made
from tests.worker.tiny_pack import save_tiny_pack

INSTANTS = 10
KILLS = 4


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pack(tmp_path_factory.mktemp("packs") / "tiny")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, pack: Path) -> Path:
    world = film(tmp_path_factory.mktemp("unbroken"), pack)
    assert run_worker(world) == 0
    return world


@pytest.mark.slow
def test_at_seeded_instants(unbroken: Path, pack: Path, tmp_path: Path) -> None:
    for instant in sorted(random.Random(5).sample(range(1, instants_of(unbroken) - 4), INSTANTS)):  # progress is written by time: some less
        world = film(tmp_path / str(instant), pack)
        assert run_worker(world, dies_at=instant) == KILLED, instant
        assert run_worker(world) == 0, instant
        assert film_made(world) == film_made(unbroken), instant


@pytest.mark.slow
def test_by_true_sigkills_at_seeded_times(unbroken: Path, pack: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    assert run_worker(film(tmp_path / "timed", pack)) == 0
    whole = time.monotonic() - began
    shares = random.Random(7)
    for share in (shares.uniform(0.1, 0.8) for _ in range(KILLS)):
        world = film(tmp_path / f"{share:.3f}", pack)
        assert run_worker(world, killed_after=share * whole) in (-9, 0), share  # 0: it was quicker this time
        assert run_worker(world) == 0, share
        assert film_made(world) == film_made(unbroken), share
