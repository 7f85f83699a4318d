"""The person's clock: how long somebody waits for help, the first screen, a key, a page of pictures, and a clip's first step.

All of it with real processes: the screens in a terminal of their own, a worker that is started for it, in a home that goes afterwards.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from vcd_studio.bench.figures import Figure, alternate, seconds
from vcd_studio.bench.many import fill_clips, fill_queue, home
from vcd_studio.bench.parts import Options
from vcd_studio.bench.screens import PICTURES_QUIET, Screens
from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project

if TYPE_CHECKING:
    from vcd_studio.jobs.model import Job

MANY, FEW = 10_000, 120
HELP_SECONDS, PAINT_SECONDS, KEY_SECONDS, PAGE_SECONDS, STEP_SECONDS = 0.3, 0.8, 0.05, 0.15, 0.5
MEGABYTES = 150.0
IDLE_SECONDS = 5.0
GREETING = "Welcome to VCD Studio"
OPENED = "Mask view"
"""A key of the Identity screen, with which an open project begins."""
PROMPT = "a dog running in the snow"
SHORT = {"steps": 3, "frames": 2, "width": 32, "height": 32, "guidance": 1.0, "preview_every": 0}
"""A clip whose steps take next to nothing: what is left is the way to them."""


def measure(options: Options) -> Iterator[Figure]:
    """Help and first paint, keys and pages with many jobs and clips, and the way from the queue to the first step."""
    with tempfile.TemporaryDirectory(prefix="vcd-bench-") as folder:
        with home(Path(folder) / "empty"):
            yield from _beginnings(options)
        with home(Path(folder) / "many"):
            yield from _many(options, Path(folder))
        with home(Path(folder) / "work"):
            yield from _work(options, Path(folder))


def _beginnings(options: Options) -> Iterator[Figure]:
    def python(*arguments: str) -> Callable[[], float]:
        return lambda: seconds(lambda: subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True))

    took = alternate({"help": python("-m", "vcd_studio.cli", "--help"), "python": python("-c", "pass")}, options.rounds)
    yield Figure("--help", took["help"], wanted=HELP_SECONDS, floor=median(took["python"]), note="floor: a Python that does nothing")
    paints, resident = [], []
    for turn in range(options.rounds + 1):
        with Screens(graphics="halfcell") as screens:
            painted = screens.shows(GREETING) - screens.began
            if turn:  # the first one warms the files
                paints.append(painted)
                screens.settles()
                resident.append(screens.resident())
    yield Figure("first paint", tuple(paints), wanted=PAINT_SECONDS)
    yield Figure("resident memory then", tuple(resident), "MB", wanted=MEGABYTES)


def _many(options: Options, folder: Path) -> Iterator[Figure]:
    count, keys = (FEW, 4) if options.small else (MANY, 20)
    project = Project.create(folder / "film", name="Film", pack="pocket")
    fill_clips(project, count)
    with Store() as store:
        fill_queue(store, project, count)
    label = f"with {count} jobs and clips"

    def answers(screens: Screens, key: str) -> tuple[float, ...]:
        return tuple(screens.answers(key) for _ in range(keys))

    with Screens(project.path, "sixel") as screens:
        screens.shows(OPENED)
        screens.settles()
        began = screens.press("4")
        yield Figure("Queue screen first shown", (screens.shows("a <rex> dog, the") - began,), note=label)
        screens.settles()
        yield Figure("a key on the Queue screen", answers(screens, "\x1b[B"), wanted=KEY_SECONDS, note=label)
        began = screens.press("5")
        yield Figure("first page of clips", (screens.shows("clip 1 of") - began,), note=f"{label}, nothing read before")
        yield Figure("all clips read", (screens.shows(f"of {count}") - began,), note=f"{label}, nothing read before")
        screens.settles()
        yield Figure("a key with pictures on screen", answers(screens, "\x1b[C"), wanted=KEY_SECONDS, note=label)
        for _ in range(2 if options.small else 5):  # so that these pages are kept on disk
            screens.answers("\x1b[6~", PICTURES_QUIET)
        yield Figure("resident memory there", (screens.resident(),), "MB", note=label)
        yield Figure("idle", (screens.busy(IDLE_SECONDS / (5 if options.small else 1)),), "% of a core", note="Clips screen")
    pages = []
    for _ in range(options.rounds):
        with Screens(project.path, "sixel") as screens:
            screens.shows(OPENED)
            screens.settles()
            began = screens.press("5")
            again = screens.shows(f"of {count}") - began
            screens.settles(PICTURES_QUIET)
            pages.append(screens.answers("\x1b[6~", PICTURES_QUIET))
    yield Figure("all clips read by a studio started anew", (again,), note=label)
    yield Figure("a page of thumbnails from the disk cache", tuple(pages), wanted=PAGE_SECONDS, note=label)


@dataclass(frozen=True)
class Way:
    """One clip's way, in seconds from the return of the call that enqueued it: until its networks are asked for, until it is denoised,
    until its first step is done. ``loaded``: whether its log says that a pack was loaded."""

    claimed: float
    denoising: float
    stepped: float
    loaded: bool


def _work(options: Options, folder: Path) -> Iterator[Figure]:
    from vcd_studio.jobs import workers

    project = Project.create(folder / "work-film", name="Film", pack="pocket")
    workers.start(options.device)
    try:
        with Store() as store:
            first, *warm = [_way(store, project, seed) for seed in range(options.rounds + 2)]
            usual = _way(store, project, 0, {"steps": 2})
    finally:
        workers.stop(options.device)
    again = [way.denoising - way.claimed for way in warm]
    told = f"packs loaded: {sum(way.loaded for way in warm)} of {len(warm)}"
    yield Figure("loading for the first clip", (first.denoising - first.claimed,), note=f"packs loaded: {int(first.loaded)} of 1")
    yield Figure("loading for a further clip on the same base", tuple(again), note=told)
    yield Figure("from the queue until it is denoised", tuple(way.denoising for way in warm), wanted=STEP_SECONDS, note="warm worker")
    yield Figure("from the queue to the first step", tuple(way.stepped for way in warm), wanted=STEP_SECONDS, note="2 frames of 32²")
    step = usual.stepped - usual.denoising
    yield Figure("from the queue to the first step, usual clip", (usual.stepped,), floor=step, note="floor: the step itself")


def _way(store: Store, project: Project, seed: int, overrides: dict[str, object] | None = None) -> Way:
    """Enqueue a clip, look on until it is done, and tell when what came. RuntimeError where it fails."""
    from vcd_studio.jobs.enqueue import enqueue_plan, plan_generate

    changes = SHORT if overrides is None else overrides
    (job,) = enqueue_plan(store, project, plan_generate(project, text=PROMPT, seeds=[seed], stages=["t2v"], overrides=changes))
    began, seen = time.perf_counter(), dict[str, float]()
    while not store.job(job.id).is_finished:
        stage = store.stages(job.id)[0]
        if stage.message:
            seen.setdefault(stage.message.partition(" ")[0], time.perf_counter() - began)
        time.sleep(0.002)
    _complain(store.job(job.id))
    loaded = any("loading the pack" in event.text for event in store.events(job.id))
    return Way(seen.get("loading", seen["denoising"]), seen["denoising"], seen["step"], loaded)


def _complain(job: Job) -> None:
    if job.state != "done":
        raise RuntimeError(f"the clip that was to be measured is {job.state}: {job.error}")
