"""A small studio on disk for the screens' tests: one project with two identities, a training, prompts, clips and a queue."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.store import Store
from vcd_studio.jobs.workers import WorkerStatus
from vcd_studio.project.outputs import write_sidecar
from vcd_studio.project.photos import write_mask
from vcd_studio.project.project import Project

PROMPTS = """# what rex does
[[prompt]]
text = "a <rex> dog running in the {snow|rain}"
seeds = [1, 2]

[[prompt]]
text = "a <rex> dog sleeping on the beach"
"""


@dataclass
class FakeWorkers:
    """Stands in for worker processes: remembers what was asked."""

    alive: bool = False
    asked: list[str] = field(default_factory=list)

    def status(self) -> list[WorkerStatus]:
        return [WorkerStatus("cpu", 4242, "idle", None, WorkerId(4242, "1", "boot"))] if self.alive else []

    def start(self, device: str = "auto") -> object:
        self.asked.append(f"start {device}")
        self.alive = True
        return None

    def stop(self, device: str | None = None) -> object:
        self.asked.append("stop")
        self.alive = False
        return None

    def recover(self, store: Store) -> object:
        return []

    def ensure_running(self, device: str = "auto") -> object:
        self.asked.append(f"ensure {device}")
        self.alive = True
        return None


def subject(at: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """A round orange thing on a green ground, a little further right each time."""
    image = Image.new("RGB", size, (40, 110, 60))
    ImageDraw.Draw(image).ellipse(subject_box(at, size), fill=(230, 140, 40))
    return image


def subject_box(at: int, size: tuple[int, int] = (96, 72)) -> tuple[int, int, int, int]:
    left = size[0] // 6 + at * 3
    return left, size[1] // 5, left + size[0] // 2, size[1] * 4 // 5


def subject_mask(at: int, size: tuple[int, int] = (96, 72)) -> np.ndarray:
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).ellipse(subject_box(at, size), fill=255)
    return np.asarray(mask)


def photo_folder(folder: Path, count: int = 4) -> Path:
    """A folder of photos, as a person would have it."""
    folder.mkdir(parents=True)
    for at in range(count):
        subject(at).save(folder / f"{at:02}.png")
    return folder


def make_project(root: Path) -> Project:
    """The project `park` with identity rex (masks, a finished training) and mia (photos alone)."""
    project = Project.create(root / "park", name="Park", pack="pocket")
    for name, noun in (("rex", "dog"), ("mia", "cat")):
        project.add_identity(name, noun, [photo_folder(root / f"photos-{name}")])
    rex = project.identity("rex")
    for at, photo in enumerate(rex.photos()):
        write_mask(photo.mask_path, subject_mask(at))
    rex.set_mask_state("03.png", "left-out")
    make_run(rex.new_run(), 40)
    project.prompts_path.write_text(PROMPTS, encoding="utf-8")
    return project


def make_run(folder: Path, steps: int) -> None:
    """A training run with a falling loss, a rising norm and two previews."""
    with (folder / "loss.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "loss", "token_norm"])
        writer.writerows((step, round(0.2 + 0.5 / (1 + step), 6), round(0.4 + 0.01 * step, 6)) for step in range(1, steps + 1))
    (folder / "previews").mkdir(exist_ok=True)
    for at in (1, 2):
        subject(at).save(folder / "previews" / f"{at:05}.png")
    (folder / "tokens.safetensors").write_bytes(b"not read by the screens")


def make_clip(project: Project, stem: str, frames: int = 6) -> Path:
    """A finished clip with two stages."""
    folder = project.new_clip(stem)
    for stage, size in (("t2v", (48, 36)), ("tiled", (96, 72))):
        (folder / "stages" / stage / "frames").mkdir(parents=True)
        for at in range(frames):
            subject(at, size).save(folder / "stages" / stage / "frames" / f"{at:04}.png")
    subject(0).save(folder / "poster.png")
    measured = {"t2v": {"seconds": 2.5}, "tiled": {"seconds": 4.0, "report": {"seam_score": 1.02, "tiles": 9}}}
    told = {"prompt": f"a <rex> dog {stem}", "seed": 7, "fps": 8, "stages": measured}
    write_sidecar(folder, {**told, "finished": "2026-01-02T03:04:05+00:00"})
    return folder


def make_queue(store: Store, project: Project) -> None:
    """One job done, one running in its second stage, one waiting, one failed."""
    worker = WorkerId(4242, "1", "boot")
    for title in ("a <rex> dog on the beach", "a <rex> dog in the snow", "a <rex> dog in the rain"):
        store.enqueue("generate", project.path, title, ["t2v", "face", "tiled", "save"], {"prompt": title})
    failed = store.claim(worker, "cpu")
    assert failed is not None
    store.fail(failed.id, "The pack has no face detector; take face out of the stages.", "Traceback (most recent call last): …")
    running = store.claim(worker, "cpu")
    assert running is not None
    first, second = store.stages(running.id)[:2]
    store.begin_stage(first.id, 25)
    store.finish_stage(first.id, "frames")
    store.begin_stage(second.id, 20)
    store.log(running.id, "info", "t2v: 16 frames of 64 × 64")
    store.log(running.id, "warning", "no face in frames 3 to 5: filled in between")


def make_batch(store: Store, project: Project, count: int = 12, done: int = 3) -> list[int]:
    """Clips of one prompt that were enqueued together: some done, in a minute each, one failed, one half way, the rest waiting."""
    written = "a <rex> dog {running|sitting} in the snow"
    titles = [f"a <rex> dog {('running', 'sitting')[at % 2]} in the snow · seed {at // 2}" for at in range(count)]
    settings = {"pack": "pocket", "written": written, "generation": {"steps": 25, "frames": 16, "stages": ["t2v"]}}
    titled = [(title, settings) for title in titles]
    jobs = store.enqueue_all(titled, "generate", project.path, ["t2v", "save"], batch="20260102-030405-beef")
    numbers = [job.id for job in jobs]
    store.move_all(numbers, 0)
    for at in range(done + 2):
        job = store.claim(WorkerId(4243 + at, "1", "boot"), "cpu")
        assert job is not None
        first, last = store.stages(job.id)
        store.begin_stage(first.id, 25)
        if at < done:
            store.finish_stage(first.id, "frames")
            store.begin_stage(last.id, 1)
            store.finish_stage(last.id)
            store.finish(job.id)
        elif at == done:
            store.fail(job.id, "The disk is full; free some space and retry.")
        else:
            store.log(job.id, "info", "wears the weights of rex")
    with store.database.write() as connection:
        connection.execute("UPDATE stage SET finished = started + 30 WHERE state = 'done' AND job_id >= ?", (numbers[0],))
        connection.execute("UPDATE stage SET step = 10, rate = 0.5 WHERE state = 'running' AND job_id = ?", (numbers[done + 1],))
    return numbers
