"""Thousands of jobs and clips, made up in a moment: what a screen has to bear after a year."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vcd_studio.jobs.store import Store
from vcd_studio.project.outputs import SIDECAR
from vcd_studio.project.project import Project

STAGES = ("t2v", "face", "tiled", "save")
GENERATION = {"steps": 25, "frames": 16, "width": 64, "height": 64}
SETTINGS = {"pack": "pocket", "prompt": "a <rex> dog", "generation": GENERATION}
RECIPE = {
    **SETTINGS, "fps": 8, "stages": {name: {**GENERATION, "seconds": 4.5} for name in STAGES[:3]},
    "models": {f"network-{at}/diffusion_pytorch_model.safetensors": f"{at:064x}" for at in range(30)},
}  # fmt: skip
"""As long as those that workers write: reading them is most of what a page of clips costs."""
POSTER = 128
"""Pixels on either side."""


@contextmanager
def home(folder: Path) -> Iterator[None]:
    """Queue, settings and caches of this process, and of those that it starts, lie in ``folder`` meanwhile."""
    before = os.environ.get("VCD_HOME")
    os.environ["VCD_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["VCD_HOME"]
        else:
            os.environ["VCD_HOME"] = before


def fill_queue(store: Store, project: Project, count: int) -> None:
    """``count`` jobs of four stages; half of them are done, each stage in a second."""
    titled = [(f"a <rex> dog, the {at}th time", SETTINGS) for at in range(count)]
    store.enqueue_all(titled, "generate", project.path, STAGES)
    with store.database.write() as connection:
        connection.execute("UPDATE job SET state = 'done', started = created, finished = created + id WHERE id <= ?", (count // 2,))
        connection.execute("UPDATE stage SET state = 'done', started = 0, finished = 1 WHERE job_id <= ?", (count // 2,))


def fill_clips(project: Project, count: int) -> None:
    """``count`` clips as a worker leaves them: one stage of two frames, a poster that no other has, a film (empty) and a recipe."""
    import tomli_w
    from PIL import Image

    recipe = tomli_w.dumps(RECIPE)
    slope = Image.linear_gradient("L").resize((POSTER, POSTER))
    frame = Image.new("RGB", (16, 12), (40, 110, 60))
    for at in range(count):
        clip = project.outputs_dir / f"clip-{at:05}"
        frames = clip / "stages" / "t2v" / "frames"
        frames.mkdir(parents=True)
        for number in range(2):
            frame.save(frames / f"{number:04}.png")
        (clip / "clip.mp4").touch()
        Image.merge("RGB", (slope, slope.rotate(90), slope.point(lambda value, add=at: (value + add) % 256))).save(clip / "poster.png")
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_800_000_000 + at))
        (clip / SIDECAR).write_text(f"seed = {at}\nfinished = {made}\n{recipe}", encoding="utf-8")
