"""How quick a queue of many jobs and a project of many clips are: `python -m tests.benchmarks.scale [--count N]`.

Everything is made in a temporary folder: N jobs of four stages (half of them done) and N clips of one stage and two frames. What a
person sees of so many is measured by `vcd-studio bench clock`. The table gives medians and worst cases in milliseconds, on this machine,
with warm caches.
"""

import argparse
import sqlite3
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vcd_studio.bench.figures import seconds
from vcd_studio.bench.many import fill_clips, fill_queue, home
from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.store import Store
from vcd_studio.project.project import Project

WORKER = WorkerId(1, "1", "boot")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="jobs, and clips (default: 10000)")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder, home(Path(folder) / "home"):
        project = Project.create(Path(folder) / "many", name="Many", pack="pocket")
        print(f"{count} jobs, {count} clips; SQLite {sqlite3.sqlite_version}\n\n{'':44}{'median':>10}{'worst':>10}{'times':>7}")
        with Store() as store:
            row("enqueue all", [seconds(lambda: fill_queue(store, project, count))])
            for name, samples in store_rows(store):
                row(name, samples)
        row("write all clips", [seconds(lambda: fill_clips(project, count))])
        row("clips: list all", [seconds(project.clips) for _ in range(3)])


def row(name: str, samples: list[float]) -> None:
    print(f"{name:44}{statistics.median(samples) * 1e3:10.2f}{max(samples) * 1e3:10.2f}{len(samples):7}", flush=True)


def store_rows(store: Store) -> Iterator[tuple[str, list[float]]]:
    def claim_one() -> float:
        took = seconds(lambda: store.claim(WORKER, "cpu"))
        store.release(store.jobs(states=["running"])[0].id, "queued")
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


if __name__ == "__main__":
    main()
