"""How quick a queue of many jobs and a project of many clips are: `python -m tests.benchmarks.scale [--count N]`.

Everything is made in a temporary folder: N jobs of four stages (half of them done, one running) and N clips of one stage and two frames.
The table gives medians and worst cases in milliseconds, on this machine, with warm caches.
"""

import argparse
import asyncio
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.store import Store
from vcd_studio.project.outputs import write_sidecar
from vcd_studio.project.project import Project
from vcd_studio.terminal import Terminal
from vcd_studio.tui.app import StudioApp
from vcd_studio.tui.messages import QueueChanged
from vcd_studio.tui.screens.clips import ClipsScreen
from vcd_studio.tui.screens.queue import QueueScreen
from vcd_studio.tui.watch import Queue
from vcd_studio.tui.widgets.pictures.grid import PictureGrid

WORKER = WorkerId(1, "1", "boot")
STAGES = ("t2v", "face", "tiled", "save")
SETTINGS = {"pack": "pocket", "prompt": "a <rex> dog", "generation": {"steps": 25, "frames": 16, "width": 64, "height": 64}}


class NoWorkers:
    """No worker process is looked for or started."""

    def status(self) -> list[object]:
        return []

    def recover(self, store: Store) -> list[object]:
        return []


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="jobs, and clips (default: 10000)")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        os.environ["VCD_HOME"] = str(Path(folder) / "home")
        project = Project.create(Path(folder) / "many", name="Many", pack="pocket")
        print(f"{count} jobs, {count} clips; SQLite {sqlite3.sqlite_version}\n\n{'':44}{'median':>10}{'worst':>10}{'times':>7}")
        with Store() as store:
            row("enqueue all", [seconds(lambda: fill_queue(store, project, count))])
            for name, samples in store_rows(store):
                row(name, samples)
        row("write all clips", [seconds(lambda: fill_outputs(project, count))])
        row("clips: list all", [seconds(project.clips) for _ in range(3)])
        asyncio.run(screen_rows(project, count))


def seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def row(name: str, samples: list[float]) -> None:
    print(f"{name:44}{statistics.median(samples) * 1e3:10.2f}{max(samples) * 1e3:10.2f}{len(samples):7}", flush=True)


def fill_queue(store: Store, project: Project, count: int) -> None:
    """Half of the jobs are done, each stage in a second; one runs; the rest waits."""
    titled = [(f"a <rex> dog, the {at}th time", SETTINGS) for at in range(count)]
    store.enqueue_all(titled, "generate", project.path, STAGES)
    with store.database.write() as connection:
        connection.execute("UPDATE job SET state = 'done', started = created, finished = created + id WHERE id <= ?", (count // 2,))
        connection.execute("UPDATE stage SET state = 'done', started = 0, finished = 1 WHERE job_id <= ?", (count // 2,))
    running = store.claim(WORKER, "cpu")
    assert running is not None
    store.begin_stage(store.stages(running.id)[0].id, 1000)


def fill_outputs(project: Project, count: int) -> None:
    frame = Image.new("RGB", (16, 12), (40, 110, 60))
    for at in range(count):
        clip = project.outputs_dir / f"clip-{at:05}"
        frames = clip / "stages" / "t2v" / "frames"
        frames.mkdir(parents=True)
        for number in range(2):
            frame.save(frames / f"{number:04}.png")
        frame.save(clip / "poster.png")
        made = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(1_800_000_000 + at))
        write_sidecar(clip, {**SETTINGS, "seed": at, "fps": 8, "finished": made})


def store_rows(store: Store) -> Iterator[tuple[str, list[float]]]:
    def claim_one() -> float:
        began = time.perf_counter()
        job = store.claim(WORKER, "cpu")
        took = time.perf_counter() - began
        assert job is not None
        store.release(job.id, "queued")
        return took

    yield "claim", [claim_one() for _ in range(50)]
    yield "list", [seconds(store.jobs) for _ in range(5)]
    yield "list, done only", [seconds(lambda: store.jobs(states=["done"])) for _ in range(5)]
    yield "ask whether anything changed", [seconds(store.changed_since) for _ in range(200)]
    with store.database.write() as connection:
        connection.execute("UPDATE job SET device = 'cuda:7' WHERE state = 'queued'")
    yield "claim that finds only others' jobs", [seconds(lambda: store.claim(WORKER, "cpu")) for _ in range(50)]
    with store.database.write() as connection:
        connection.execute("UPDATE job SET device = NULL")


async def screen_rows(project: Project, count: int) -> None:
    """The screens with everything on them, without a terminal: what a step of a running job costs, and how long a page of clips takes."""
    queue = Queue(workers=NoWorkers())  # type: ignore[arg-type]
    app = StudioApp(project.path, Terminal("off"), queue)
    async with app.run_test(size=(120, 40)) as pilot:
        while app.project is None or len(app.snapshot.jobs) < count:
            await pilot.pause(0.05)
        began = time.perf_counter()
        app.switch_mode("queue")
        await pilot.pause()
        while not isinstance(app.studio_screen, QueueScreen):
            await pilot.pause(0.01)
        await pilot.pause()
        row("Queue screen: first shown", [time.perf_counter() - began])
        running = app.snapshot.running()[0]
        stage = queue.store.stages(running.id)[0]
        steps = []
        for step in range(1, 11):
            before = app.snapshot
            began = time.perf_counter()
            queue.store.progress(stage.id, step, 1000)
            while app.snapshot is before:
                await pilot.pause(0.001)
            steps.append(time.perf_counter() - began)
        row("Queue screen: a step until it is shown", steps)
        row("Queue screen: the drawing alone", [seconds(lambda: app.on_queue_changed(QueueChanged(app.snapshot))) for _ in range(10)])
        await pilot.pause()
        keys = []
        for _ in range(20):
            began = time.perf_counter()
            await pilot.press("down")
            keys.append(time.perf_counter() - began)
        row("Queue screen: a key", keys)
        began = time.perf_counter()
        app.switch_mode("clips")
        while not isinstance(screen := app.studio_screen, ClipsScreen) or not screen.query(PictureGrid) or not screen.clips:
            await pilot.pause(0.01)
        row("Clips screen: first page", [time.perf_counter() - began])
        while len(screen.clips) < count:
            await pilot.pause(0.01)
        row("Clips screen: all there", [time.perf_counter() - began])
        began = time.perf_counter()
        before_clips = screen.clips
        screen.project_changed()
        while screen.clips is before_clips:
            await pilot.pause(0.01)
        row("Clips screen: read again", [time.perf_counter() - began])
        keys = []
        for _ in range(20):
            began = time.perf_counter()
            await pilot.press("pagedown")
            keys.append(time.perf_counter() - began)
        row("Clips screen: a page further", keys)


if __name__ == "__main__":
    main()
