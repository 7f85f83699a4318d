"""What a long queue, a full project and an identity of many photos cost: seconds of each act, by its name, for a count of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from PIL import Image

from vcd_studio.bench.figures import seconds
from vcd_studio.bench.many import SETTINGS, STAGES, fill_clips, fill_queue, home
from vcd_studio.bench.screens import Screens
from vcd_studio.jobs.enqueue import enqueue_segment
from vcd_studio.jobs.mirror import Mirror
from vcd_studio.jobs.processes import this_process
from vcd_studio.jobs.store import Store
from vcd_studio.method.protocols import Box
from vcd_studio.project.project import Project
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.networks import NetworkKeeper
from vcd_studio.worker.stages import segment

Costs = Mapping[str, float]
TIMES = 20
"""How often what takes a moment is measured."""
FEW = 3
"""And what takes longer."""
SIDE = 64
"""Pixels of a made-up photo: what opening a larger one takes is the picture's own."""
OPENED = "Mask view"
"""A key of the Identity screen, with which an open project begins."""
FIRST = "0000.png"
"""The first photo, which that screen names."""


def queue_costs(count: int, folder: Path) -> Costs:
    """With ``count`` jobs, half of them done. The screens' first look reads all; their next ones what has changed."""
    with home(folder / "home"), Store() as store:
        project = Project.create(folder / "film", name="Film", pack="pocket")
        fill_queue(store, project, count)
        mirror = Mirror(store)
        waiting = itertools.cycle(job.id for job in store.jobs(states=["queued"]))

        def claimed() -> float:
            job = store.claim(this_process(), "cpu")
            assert job is not None
            store.release(job.id, "queued")
            return 0.0

        def looked(change: Callable[[], object]) -> float:
            change()
            return seconds(mirror.look)

        return {
            "queue: claim and put back": _usual(lambda: seconds(claimed), TIMES),
            "queue: enqueue one": _usual(lambda: seconds(lambda: store.enqueue("generate", project.path, "one", STAGES, SETTINGS)), TIMES),
            "queue: list all": _usual(lambda: seconds(store.jobs), FEW),
            "queue: first look of the screens": _usual(lambda: seconds(Mirror(store).look), FEW),
            "queue: a look after a step": _usual(
                lambda: looked(lambda: store.progress(store.stages(next(waiting))[0].id, 1, 2)), TIMES
            ),
            "queue: a look after a job was moved": _usual(lambda: looked(lambda: store.set_priority(next(waiting), 1)), TIMES),
        }


def clip_costs(count: int, folder: Path) -> Costs:
    """With ``count`` clips: seen by a screen, and listed, while nothing is known of them; then listed again."""
    with home(folder / "of-screens"):
        project = Project.create(folder / "film", name="Film", pack="pocket")
        fill_clips(project, count)
        with Screens(project.path) as screens:
            screens.shows(OPENED)
            screens.settles()
            began = screens.press("5")
            shown = screens.shows("clip 1 of") - began
    with home(folder / "home"):
        first = seconds(project.clips)
        again = _usual(lambda: seconds(project.clips), FEW)
    return {"clips: first page": shown, "clips: list all for the first time": first, "clips: list all": again}


def photo_costs(count: int, folder: Path) -> Costs:
    """An identity of ``count`` photos: told, segmented by networks that take no time, and shown."""
    from vcd_studio.cli.identities import identity_object

    with home(folder / "home"), Store() as store:
        project = Project.create(folder / "film", name="Film", pack="pocket")
        project.add_identity("rex", "dog", [_photos(count, folder / "photos")])
        enqueue_segment(store, project, "rex")
        job = store.claim(this_process(), "cpu")
        assert job is not None
        networks = cast(NetworkKeeper, SimpleNamespace(get=lambda pack, log: _Sighted()))
        context = StageContext(store, job, store.stages(job.id)[0], "cpu", networks, lambda: False)
        with redirect_stdout(StringIO()):  # a worker tells of each photo
            segmented = seconds(lambda: segment.run(context))
        store.finish(job.id)
        with Screens(project.path) as screens:
            shown = screens.shows(FIRST) - screens.began
        told = _usual(lambda: seconds(lambda: identity_object(Project.open(project.path).identity("rex"))), FEW)
        return {"photos: identity show": told, "photos: segment, without its networks": segmented, "photos: screens opened on them": shown}


class _Sighted:
    """Networks that find the middle of any picture at once."""

    def __init__(self) -> None:
        self.grounding = self.segmenter = self

    def ground(self, image: Image.Image, *_: Any) -> list[Box]:
        return [Box(image.width / 4, image.height / 4, 3 * image.width / 4, 3 * image.height / 4)]

    def segment(self, image: Image.Image, box: Box) -> np.ndarray[Any, np.dtype[np.float32]]:
        mask = np.zeros((image.height, image.width), np.float32)
        mask[round(box.top) : round(box.bottom), round(box.left) : round(box.right)] = 1
        return mask


def _photos(count: int, folder: Path) -> Path:
    """So many pictures, no two alike."""
    folder.mkdir()
    slope = Image.linear_gradient("L").resize((SIDE, SIDE))
    for at in range(count):
        tint = Image.new("L", slope.size, at % 256)
        Image.merge("RGB", (slope, slope.rotate(90), tint)).rotate(at // 256).save(folder / f"{at:04}.png")
    return folder


def _usual(measure: Callable[[], float], times: int) -> float:
    """The median, after one that warms up."""
    measure()
    return median(measure() for _ in range(times))
