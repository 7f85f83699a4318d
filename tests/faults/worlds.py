"""What workers are set to: a queue below ``world``/home, a project in ``world``/film, and afterwards what must have come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.faults.dying_worker import queue_of
from vcd_studio.jobs.enqueue import enqueue_plan, enqueue_train, plan_generate
from vcd_studio.jobs.store import Store
from vcd_studio.media.frames import load_frames
from vcd_studio.media.video import read_video
from vcd_studio.method.id_tokens import IdTokens
from vcd_studio.project.project import Project
from vcd_studio.worker.leftovers import HALF

TRAINING = {"steps": 4, "bank": 1, "batch": 1, "tokens": 1, "checkpoint_every": 1, "preview_every": 2}
QUICK = {"frames": 2, "steps": 2, "guidance": 1.0, "face_strength": 0.5, "tiled_strength": 0.5, "preview_every": 1}


def quick_world(folder: Path) -> Path:
    """A training and two clips, waiting."""
    project = folder / "film"
    project.mkdir(parents=True)
    with Store(queue_of(folder)) as store:
        store.enqueue("train", project, "training", ["train"], {"identity": "rex"})
        store.enqueue_all([(f"clip {seed}", {"seed": seed}) for seed in (1, 2)], "generate", project, ["t2v", "save"])
    return folder


def quick_made(world: Path) -> list[object]:
    """What the jobs brought, in their order; everything that must not depend on how often they were interrupted."""
    brought: list[object] = []
    with Store(queue_of(world)) as store:
        for job in sorted(store.jobs(), key=lambda job: job.id):
            assert job.state == "done", (job.title, job.state, job.error, job.traceback)
            assert [stage.state for stage in store.stages(job.id)] == ["done"] * len(store.stages(job.id))
            assert [attempt.outcome for attempt in store.attempts(job.id)][-1] == "done"
            if job.kind == "train":
                brought.append((Path(job.result["run"]) / "learnt.txt").read_text())
            else:
                frames = load_frames(Path(job.result["clip"]) / "stages" / "t2v" / "frames")
                brought.append(((Path(job.result["clip"]) / "clip.toml").read_text(), [frame.tobytes() for frame in frames]))
        assert store.open_attempts() == []
    assert leftovers(world) == []
    return brought


def leftovers(world: Path) -> list[str]:
    """Halves of files in the project, and folders with nothing in them."""
    paths = list((world / "film").rglob("*"))
    empty = [str(path) for path in paths if path.is_dir() and not any(path.iterdir())]
    return [str(path) for path in paths if HALF.fullmatch(path.name)] + empty


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


def film_made(world: Path) -> dict[str, bytes]:
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
    assert leftovers(world) == []
    return brought
