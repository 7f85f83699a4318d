"""A machine that went dark: the queue's file and its write-ahead log as they lay there at some instant, opened elsewhere."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.store import Store

WORKER = WorkerId(4242, "then", "a boot that is over")
QUEUE = "queue.sqlite3"
COPIES = 200


def copy_of(queue: Path, to: Path) -> Path:
    """The queue's file with its -wal and -shm, byte for byte, while it is open."""
    to.mkdir(parents=True)
    for path in queue.parent.glob(f"{queue.name}*"):
        shutil.copyfile(path, to / path.name)
    return to / queue.name


def life(store: Store, after_write: Callable[[], None]) -> None:
    """A batch enqueued, a job worked on, others asked things of; told after every write."""
    for verb in (
        lambda: store.enqueue_all([(f"clip {n}", {"seed": n}) for n in range(4)], "generate", Path("/film"), ["t2v", "save"]),
        lambda: store.claim(WORKER, "cpu"),
        lambda: store.begin_stage(1, 3),
        *[lambda step=step: store.progress(1, step, 3, message=f"step {step}") for step in (1, 2, 3)],  # type: ignore[misc]
        lambda: store.update_result(1, {"clip": "/film/outputs/clip"}),
        lambda: store.finish_stage(1, "/film/outputs/clip/stages/t2v"),
        lambda: store.log(1, "info", "finished"),
        lambda: store.pause(2),
        lambda: store.move(4, 0),
        lambda: store.cancel(3),
        lambda: store.begin_stage(2, 2),
    ):
        verb()
        after_write()


def picture(store: Store) -> list[object]:
    """All that a person would see of the queue."""
    jobs = sorted(store.jobs(), key=lambda job: job.id)
    return [(job, store.stages(job.id), store.attempts(job.id), store.events(job.id)) for job in jobs]


@pytest.fixture
def copies(tmp_path: Path) -> list[tuple[Path, list[object]]]:
    """After each write of one life: the copied queue, and what was to be seen then."""
    taken: list[tuple[Path, list[object]]] = []
    with Store(tmp_path / "here" / QUEUE) as store:
        life(store, lambda: taken.append((copy_of(store.path, tmp_path / f"copy-{len(taken)}"), picture(store))))
    return taken


def test_a_copy_taken_after_any_write_shows_that_write_and_the_next_worker_goes_on(copies: list[tuple[Path, list[object]]]) -> None:
    for queue, then in copies:
        with Store(queue) as store:
            assert picture(store) == then
            assert [job.id for job in store.recover(lambda worker: False)] == [
                attempt.job_id for attempt in store.attempts(1) if then and attempt.outcome == "crashed"
            ]
            assert store.jobs(states=["running"]) == []


def test_a_log_torn_at_any_byte_gives_a_whole_queue_of_some_earlier_instant(
    copies: list[tuple[Path, list[object]]], tmp_path: Path
) -> None:
    instants = [then for _, then in copies]
    random_byte = random.Random(11)
    for number in range(COPIES):
        queue, _ = random_byte.choice(copies)
        torn = copy_of(queue, tmp_path / f"torn-{number}")
        log = torn.with_name(f"{QUEUE}-wal")
        with log.open("r+b") as file:
            file.truncate(random_byte.randrange(log.stat().st_size))
        with Store(torn) as store:
            assert store.database.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert picture(store) in ([], *instants), number


def test_a_log_with_a_flipped_bit_gives_a_whole_queue_too(copies: list[tuple[Path, list[object]]], tmp_path: Path) -> None:
    instants = [then for _, then in copies]
    random_byte = random.Random(12)
    for number in range(COPIES):
        queue, _ = random_byte.choice(copies)
        torn = copy_of(queue, tmp_path / f"torn-{number}")
        log = torn.with_name(f"{QUEUE}-wal")
        data = bytearray(log.read_bytes())
        data[random_byte.randrange(len(data))] ^= 1 << random_byte.randrange(8)
        log.write_bytes(data)
        with Store(torn) as store:
            assert store.database.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert picture(store) in ([], *instants), number
