"""Which jobs of a batch a verb is for, in every state that they can be in."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from vcd_studio.jobs.batches import Verb, fitting, of_batch, run_now, shift
from vcd_studio.jobs.model import Job, WorkerId
from vcd_studio.jobs.store import Store
from vcd_studio.project.errors import InputError

WORKER = WorkerId(1, "10", "boot")


@pytest.fixture
def batch(store: Store) -> list[Job]:
    """One batch with a job in every state, and two running ones that were asked to pause and to end."""
    fates = ["done", "failed", "cancelled", "running", "pausing", "ending", "paused", "set-aside", "queued"]
    store.enqueue_all([(fate, {}) for fate in fates], "generate", Path("/p"), ["t2v"], batch="b")
    for fate in fates[:6]:
        job = store.claim(WORKER, "cpu")
        assert job is not None
        ends = {"done": store.finish, "cancelled": lambda number: store.release(number, "cancelled")}
        ends |= {"failed": lambda number: store.fail(number, "broken"), "pausing": store.pause, "ending": store.cancel}
        if fate in ends:
            ends[fate](job.id)
    store.pause(7)
    with store.database.write() as connection:
        connection.execute("UPDATE job SET state = 'set-aside', finished = 1 WHERE id = 8")
    return store.jobs(batch="b")


@pytest.mark.parametrize(
    ("verb", "fates"),
    [
        ("cancel", {"running", "pausing", "paused", "set-aside", "queued"}),
        ("pause", {"running", "queued"}),
        ("resume", {"pausing", "paused"}),
        ("retry", {"failed", "cancelled", "set-aside"}),
        ("move", {"paused", "queued"}),
        ("priority", {"running", "pausing", "ending", "paused", "queued"}),
    ],
)
def test_a_verb_fits_what_it_would_change(verb: Verb, fates: set[str], store: Store, batch: list[Job]) -> None:
    fit = fitting(batch, verb)
    assert {job.title for job in fit} == fates
    assert of_batch(store, "b", verb) == fit == sorted(fit, key=lambda job: job.id)
    act = {"move": lambda number: store.move(number, 0), "priority": lambda number: store.set_priority(number, 9)}.get(verb)
    for job in fit:
        assert (act or getattr(store, verb))(job.id) != job


def test_a_batch_that_is_not_there_or_has_no_fitting_job(store: Store) -> None:
    with pytest.raises(InputError, match='no batch "b"'):
        of_batch(store, "b", "cancel")
    store.enqueue("generate", Path("/p"), "clip", ["t2v"], {}, batch="b")
    for verb in set(get_args(Verb)) - {"resume", "retry"}:
        assert of_batch(store, "b", verb)
    with pytest.raises(InputError, match='None of the 1 jobs of batch "b" is one for retry; they are queued'):
        of_batch(store, "b", "retry")


@pytest.mark.parametrize(
    ("moving", "by", "whole", "line"),
    [
        ("a", 1, False, "bacd"),
        ("a", 1, True, "bcad"),
        ("d", -1, False, "abdc"),
        ("d", -1, True, "adbc"),
        ("bc", -1, True, "bcad"),
        ("bc", 1, True, "adbc"),
        ("b", 1, False, "acbd"),
        ("ad", 1, True, "bcad"),
    ],
)
def test_past_one_job_or_past_a_whole_batch(moving: str, by: int, whole: bool, line: str, store: Store) -> None:
    jobs = {name: store.enqueue("generate", Path("/p"), name, ["t2v"], {}, batch="b" if name in "bc" else None).id for name in "abcd"}
    assert shift(store, [jobs[name] for name in moving], by, whole_batches=whole)
    assert "".join(job.title for job in store.jobs()) == line


def test_at_the_end_of_the_line_nothing_moves_and_paused_jobs_are_not_what_is_passed(store: Store) -> None:
    jobs = [store.enqueue("generate", Path("/p"), name, ["t2v"], {}).id for name in "abc"]
    assert shift(store, jobs[:1], -1, whole_batches=True) == []
    assert shift(store, jobs[2:], 1, whole_batches=True) == []
    store.pause(jobs[1])
    assert shift(store, jobs[:1], 1, whole_batches=True)
    assert [job.title for job in store.jobs()] == ["c", "a", "b"]
    store.claim(WORKER, "cpu")
    assert shift(store, jobs[2:], 1, whole_batches=True) == []


def test_run_now_goes_before_any_priority_and_resumes(store: Store) -> None:
    jobs = [store.enqueue("generate", Path("/p"), name, ["t2v"], {}, priority=9 - at).id for at, name in enumerate("abcd")]
    store.pause(jobs[2])
    assert [job.state for job in run_now(store, jobs[2:])] == ["queued", "queued"]
    assert [job.title for job in store.jobs(states=["queued"])] == ["c", "d", "a", "b"]
