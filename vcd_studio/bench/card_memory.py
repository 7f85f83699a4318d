"""How much of a card's memory each stage takes, and the smallest card that it fits: real jobs by a real worker that may take only so much.

``python -m vcd_studio.bench.card_memory DEVICE GB`` is that worker, in a process of its own; it says a stage's peak as soon as the stage
ends, so that a worker that is cut off has told what it did.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from vcd_studio.bench import tasks
from vcd_studio.bench.figures import Failed, Figure, Line
from vcd_studio.bench.many import home
from vcd_studio.bench.ours import MovingFace
from vcd_studio.bench.parts import Options
from vcd_studio.bench.random_pack import PACK, SIZE, SMALL_SIZE, write_pack
from vcd_studio.jobs.enqueue import enqueue_plan, enqueue_train, plan_generate
from vcd_studio.jobs.processes import last_line
from vcd_studio.jobs.store import Store
from vcd_studio.locations import packs_dir
from vcd_studio.media.video import write_video
from vcd_studio.method.protocols import Networks
from vcd_studio.project.errors import InputError
from vcd_studio.project.project import Project
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.ladder import Relief
from vcd_studio.worker.lease import Lease, WakeUp
from vcd_studio.worker.loop import StageFunction, Worker
from vcd_studio.worker.networks import Log, NetworkKeeper, set_up_device
from vcd_studio.worker.stages import STAGES

CAPS = (8, 12, 16, 24)
"""GB that torch may take, after a run with the whole card; the most telling first. A card's own context takes about half a GB besides."""
CLIP = {"steps": 2, "tiled_strength": 0.5, "preview_every": 0}
TRAINING = {"steps": 2, "bank": 4, "preview_every": 0}
"""Memory is the same in each step, so two of them tell."""
TITLES = {"t2v": "T2V", "face": "Face", "tiled": "Tiled, to twice the size", "train": "ID training"}
SECONDS = 400.0
"""By then a worker should have done all of them."""


def measure(options: Options) -> Iterator[Line]:
    """Each stage with the whole card, then with less and less of it; GB and rungs of the ladder as they come. InputError without a card."""
    if options.device == "cpu":
        raise InputError("A card's memory cannot be measured on the CPU; name a card, for example --device cuda:0.")
    free, whole = torch.cuda.mem_get_info(torch.device(options.device))
    caps = [cap for cap in CAPS if cap * 1e9 < whole]
    has_room = sum(caps) + max(CAPS) <= free / 1e9  # the whole card is then never more than partly taken by those beside
    yield from trials(options, (None, *caps), len(caps) + 1 if has_room else 1)


def trials(options: Options, caps: Sequence[int | None], at_once: int = 1) -> Iterator[Line]:
    """A fresh worker for each cap, with a queue of its own; None is the whole card. ``at_once``: so many side by side, since memory, unlike
    time, is what it is whoever else is there."""
    dtype = torch.float32 if options.device == "cpu" else torch.float16
    with tempfile.TemporaryDirectory(prefix="vcd-bench-") as folder, ThreadPoolExecutor(at_once) as pool:
        pack = write_pack(Path(folder) / PACK, dtype, options.small, options.device)
        homes = {cap: Path(folder) / f"home-{cap}" for cap in caps}
        for own in homes.values():
            with home(own):
                packs_dir().mkdir(parents=True)
                (packs_dir() / PACK).symlink_to(pack)
                enqueue(film(own, SMALL_SIZE if options.small else SIZE))
        workers = {cap: pool.submit(_worker, options.device, cap, own) for cap, own in homes.items()}
        try:
            for cap, worker in workers.items():
                peaks, last = worker.result()
                with home(homes[cap]):
                    yield from told(cap, peaks, last)
        finally:  # broken off, those that have not begun never do
            pool.shutdown(cancel_futures=True)


def film(folder: Path, size: int) -> Project:
    """A project with an identity, all of whose photos are used whole, and a clip to start from."""
    project = Project.create(folder / "film", name="Film", pack=PACK)
    photos = []
    for number, picture in enumerate(tasks.photos()):
        photos.append(folder / f"{number}.png")
        picture.save(photos[-1])
    identity = project.add_identity("rex", tasks.NOUN, photos)
    for photo in identity.photos():
        identity.set_mask_state(photo.path.name, "whole")
    write_video(project.path / "clip.mp4", list(tasks.clip(size)), 8)
    return project


def enqueue(project: Project) -> None:
    """Each stage as a job of its own: where one fails, the others do not."""
    with Store() as store:
        for stage in ("t2v", "face", "tiled"):
            video = None if stage == "t2v" else project.path / "clip.mp4"
            plan = plan_generate(project, text=tasks.PROMPT, seeds=[tasks.SEED], stages=[stage], overrides=CLIP, input_video=video)
            enqueue_plan(store, project, plan)
        enqueue_train(store, project, "rex", TRAINING)


def _worker(device: str, cap: int | None, own: Path) -> tuple[dict[str, float], str]:
    """Peaks in GB by stage, and the last words of a worker that ended before it could say all of them; ``own``: where its queue is."""
    command = [sys.executable, "-m", __name__, device, *([str(cap)] if cap else [])]
    log, env = own / "worker.log", {**os.environ, "VCD_HOME": str(own)}
    with log.open("w") as out:
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=out, timeout=SECONDS, check=False, env=env)
            told, last = done.stdout, last_line(log) if done.returncode else ""
        except subprocess.TimeoutExpired as error:
            told, last = error.stdout or b"", f"the worker was not done within {SECONDS:.0f} s"
    return dict(json.loads(line) for line in told.splitlines() if line.startswith(b"[")), last


def told(cap: int | None, peaks: Mapping[str, float], last: str = "") -> Iterator[Line]:
    """A line for each of the newest jobs of one stage: what it took and gave up, or why it failed."""
    with Store() as store:
        jobs = sorted(store.jobs(), key=lambda job: job.id)[-len(TITLES) :]
        stages = [store.stages(job.id) for job in jobs]
    for job, found in zip(jobs, stages, strict=True):
        name = next(stage.name for stage in found if stage.name in TITLES)
        what = f"{TITLES[name]}, {f'{cap} GB' if cap else 'the whole card'}"
        if job.state != "done":
            yield Failed(what, job.error or last or f"the job is {job.state}")
            continue
        given_up = Relief(**job.result.get("relief", {}).get(name, {})).sentences
        yield Figure(what, (peaks[name],), "GB", wanted=cap, note="; ".join(given_up) or "nothing given up")


@dataclass(frozen=True)
class Measured:
    """A stage whose peak in GB is said, whether it ends well or not."""

    stage: StageFunction

    def __call__(self, context: StageContext) -> str | None:
        on_card = context.device != "cpu"
        if on_card:
            torch.cuda.reset_peak_memory_stats()
        try:
            return self.stage(context)
        finally:
            peak = torch.cuda.max_memory_allocated() / 1e9 if on_card else 0.0
            print(json.dumps([context.stage.name, peak]), flush=True)


class CappedKeeper(NetworkKeeper):
    """On a card of which torch may take ``cap`` GB; with a face found in every frame."""

    def __init__(self, device: str, cap: int | None) -> None:
        super().__init__(device)
        self._cap = cap

    def get(self, pack: str, log: Log, *, precise: bool = False, frozen: bool = False, wearing: bool = False) -> Networks:
        networks = super().get(pack, log, precise=precise, frozen=frozen, wearing=wearing)
        networks.faces = MovingFace()
        return networks

    def room(self) -> int:
        return min(super().room(), int(self._cap * 1e9)) if self._cap else super().room()


def work(device: str, cap: int | None, stages: Mapping[str, StageFunction] = STAGES) -> None:
    """Every job that waits, as a worker does them; says the stages' peaks in GB, a line of JSON for each."""
    measured = {name: Measured(stage) for name, stage in stages.items()}
    with Store() as store, Lease(device) as lease, WakeUp(device) as wake_up:
        worker = Worker(store, lease, wake_up, measured)
        worker.networks = CappedKeeper(device, cap)
        worker.run(once=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=f"python -m {__name__}")
    parser.add_argument("device")
    parser.add_argument("cap", type=int, nargs="?", help="GB")
    given = parser.parse_args(arguments)
    set_up_device(given.device)
    if given.cap and given.device != "cpu":
        _, whole = torch.cuda.mem_get_info(torch.device(given.device))
        torch.cuda.set_per_process_memory_fraction(given.cap * 1e9 / whole, torch.device(given.device))
    work(given.device, given.cap)
    return 0


if __name__ == "__main__":
    sys.exit(main())
