"""The shipped stages on tiny networks, killed: the tokens and frames are those of a run that nobody disturbed."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.faults.dying_worker import KILLED, instants_of, queue_of, run_worker
from tests.worker.tiny_pack import save_tiny_pack
from vcd_studio.jobs.enqueue import enqueue_plan, enqueue_train, plan_generate
from vcd_studio.jobs.store import Store
from vcd_studio.media.frames import load_frames
from vcd_studio.media.video import read_video
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.project.project import Project

TRAINING = {"steps": 4, "bank": 1, "batch": 1, "tokens": 1, "checkpoint_every": 1, "preview_every": 2}
QUICK = {"frames": 2, "steps": 2, "guidance": 1.0, "face_strength": 0.5, "tiled_strength": 0.5, "preview_every": 1}
INSTANTS = 10
KILLS = 4


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_pack(tmp_path_factory.mktemp("packs") / "tiny")


def film(world: Path, pack: Path) -> Path:
    """A project with a training and a clip of all stages, waiting."""
    photos = world / "photos"
    photos.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photos / "0.png")
    project = Project.create(world / "film", pack=str(pack))
    project.add_identity("rex", "dog", [photos])
    with Store(queue_of(world)) as store:
        enqueue_train(store, project, "rex", TRAINING)
        enqueue_plan(store, project, plan_generate(project, text="a dog in the snow", seeds=[3], overrides=QUICK))
    return world


def made(world: Path) -> dict[str, bytes]:
    """Tokens, loss curve, frames of every stage and of the film. Fails where a job is not done, or half a file was left."""
    with Store(queue_of(world)) as store:
        jobs = sorted(store.jobs(), key=lambda job: job.id)
        assert [job.state for job in jobs] == ["done", "done"], [job.traceback or job.error for job in jobs]
        assert store.open_attempts() == []
    run, clip = Path(jobs[0].result["run"]), Path(jobs[1].result["clip"])
    brought = {
        "tokens": IdTokens.load(run / "tokens.safetensors").embeddings.numpy().tobytes(),
        "curve": (run / "loss.csv").read_bytes(),
        "film": np.stack(read_video(clip / "clip.mp4")[0]).tobytes(),
    }
    for stage in ("t2v", "face", "tiled"):
        brought[stage] = np.stack(load_frames(clip / "stages" / stage / "frames")).tobytes()
    assert list((world / "film").rglob("checkpoint.pt")) == []
    assert [str(path) for path in (world / "film").rglob("*.part")] == []
    return brought


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
        assert made(world) == made(unbroken), instant


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
        assert made(world) == made(unbroken), share
