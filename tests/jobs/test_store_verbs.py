"""Each verb of the queue does its own thing to its own job."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from vcd_studio.jobs.model import Job, WorkerId, current_stage, job_progress
from vcd_studio.jobs.store import Store
from vcd_studio.project.errors import InputError

ONE = WorkerId(1, "10", "boot")
TWO = WorkerId(2, "20", "boot")


def put(store: Store, title: str = "a clip", **options: object) -> Job:
    return store.enqueue("generate", Path("/films/park"), title, ["t2v", "face", "save"], {"seed": 7}, **options)  # type: ignore[arg-type]


def titles(store: Store) -> list[str]:
    return [job.title for job in store.jobs(states=["queued"])]


def test_a_job_comes_out_as_it_went_in(store: Store) -> None:
    job = put(store, "näme 'quoted'", batch="b", priority=3, device="cpu")
    again = store.job(job.id)
    assert again == job
    assert (again.kind, again.state, again.settings, again.batch, again.priority, again.device) == (
        "generate",
        "queued",
        {"seed": 7},
        "b",
        3,
        "cpu",
    )
    assert [stage.name for stage in store.stages(job.id)] == ["t2v", "face", "save"]
    assert again.created.tzinfo is not None


def test_auto_means_any_device(store: Store) -> None:
    assert put(store, device="auto").device is None


def test_all_of_a_batch_or_nothing(store: Store) -> None:
    with pytest.raises(TypeError):
        store.enqueue_all([("good", {}), ("bad", {"path": Path("/not/json")})], "generate", Path("/p"), ["t2v"])
    assert store.jobs() == []


def test_claims_follow_priority_then_order_then_device(store: Store) -> None:
    put(store, "first")
    put(store, "card only", device="cuda:0", priority=9)
    put(store, "urgent", priority=5)
    claimed = [store.claim(ONE, "cpu") for _ in range(3)]
    assert [job.title if job else None for job in claimed] == ["urgent", "first", None]
    assert store.waiting("cuda:0")
    assert not store.waiting("cpu")


def test_no_two_workers_get_the_same_job(store: Store) -> None:
    jobs = {put(store, str(number)).id for number in range(40)}
    taken: list[int] = []

    def work(number: int) -> None:
        with Store(store.path) as own:
            while (job := own.claim(WorkerId(number, "0", "boot"), "cpu")) is not None:
                taken.append(job.id)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(jobs)


def test_cancel_touches_one_job_alone(store: Store) -> None:
    running, waiting, other = put(store), put(store), put(store)
    store.claim(ONE, "cpu")
    store.cancel(waiting.id)
    assert [store.job(job.id).state for job in (running, waiting, other)] == ["running", "cancelled", "queued"]
    assert not store.cancel_requested(running.id)
    store.cancel(running.id)
    assert store.cancel_requested(running.id)
    assert store.job(running.id).state == "running"
    store.release(running.id, "cancelled", "cancelled by a person")
    assert [store.job(job.id).state for job in (running, waiting, other)] == ["cancelled", "cancelled", "queued"]
    assert {stage.state for stage in store.stages(running.id)} == {"cancelled"}


def test_a_job_that_vanished_counts_as_cancelled(store: Store) -> None:
    job = put(store)
    store.cancel(job.id)
    store.clear_finished()
    assert store.cancel_requested(job.id)


def test_pause_and_resume_keep_the_place_in_the_line(store: Store) -> None:
    first = put(store, "first")
    put(store, "second")
    store.pause(first.id)
    assert titles(store) == ["second"]
    store.resume(first.id)
    assert titles(store) == ["first", "second"]


def test_a_running_job_pauses_when_its_worker_lets_go(store: Store) -> None:
    job = put(store)
    store.claim(ONE, "cpu")
    store.pause(job.id)
    assert store.requested(job.id) == "pause"
    store.release(job.id, "paused")
    assert store.job(job.id).state == "paused"
    assert store.job(job.id).request is None
    assert store.resume(job.id).state == "queued"
    assert [attempt.outcome for attempt in store.attempts(job.id)] == ["paused"]


def test_a_pause_not_yet_done_can_be_taken_back_but_no_cancel(store: Store) -> None:
    job = put(store)
    store.claim(ONE, "cpu")
    store.pause(job.id)
    store.resume(job.id)
    assert store.requested(job.id) is None
    store.cancel(job.id)
    store.pause(job.id)
    store.resume(job.id)
    assert store.requested(job.id) == "cancel"


def test_retry_keeps_finished_stages_and_forgets_the_error(store: Store) -> None:
    job = put(store)
    store.claim(ONE, "cpu")
    done, face, _ = store.stages(job.id)
    store.begin_stage(done.id, 5)
    store.finish_stage(done.id, "/films/park/outputs/x/stages/t2v")
    store.begin_stage(face.id, 5)
    store.fail(job.id, "It broke.", "Traceback …")
    failed = store.job(job.id)
    assert (failed.state, failed.error, failed.traceback) == ("failed", "It broke.", "Traceback …")
    assert [stage.state for stage in store.stages(job.id)] == ["done", "failed", "queued"]
    again = store.retry(job.id)
    assert (again.state, again.error, again.traceback) == ("queued", None, None)
    stages = store.stages(job.id)
    assert [stage.state for stage in stages] == ["done", "queued", "queued"]
    assert stages[0].artefact == "/films/park/outputs/x/stages/t2v"


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "retry", "move"])
def test_a_verb_that_does_not_fit_says_so_and_changes_nothing(store: Store, verb: str) -> None:
    job = put(store)
    store.claim(ONE, "cpu")
    store.finish(job.id)
    before = store.job(job.id)
    arguments = (job.id, 0) if verb == "move" else (job.id,)
    with pytest.raises(InputError, match=f"Job {job.id} is done"):
        getattr(store, verb)(*arguments)
    assert store.job(job.id) == before
    with pytest.raises(InputError, match="no job 999"):
        getattr(store, verb)(999, *arguments[1:])


def test_move_reorders_and_crosses_priorities(store: Store) -> None:
    for title, priority in (("a", 5), ("b", 5), ("c", 0), ("d", 0)):
        put(store, title, priority=priority)
    jobs = {job.title: job.id for job in store.jobs()}
    store.move(jobs["d"], 0)
    assert titles(store) == ["d", "a", "b", "c"]
    store.move(jobs["a"], 99)
    assert titles(store) == ["d", "b", "c", "a"]
    store.move(jobs["c"], 1)
    assert titles(store) == ["d", "c", "b", "a"]


def test_several_jobs_move_as_one_block_and_keep_their_order(store: Store) -> None:
    jobs = [put(store, title) for title in "abcdef"]
    store.move_all([jobs[4].id, jobs[1].id], 1)
    assert titles(store) == ["a", "b", "e", "c", "d", "f"]
    store.set_priority(jobs[0].id, 7)
    store.move_all([job.id for job in jobs[3:]], 0)
    assert titles(store) == ["e", "d", "f", "a", "b", "c"]
    assert [job.priority for job in store.jobs()] == [7, 7, 7, 7, 0, 0]
    store.claim(ONE, "cpu")
    with pytest.raises(InputError, match="is running; only waiting jobs"):
        store.move_all([jobs[0].id, jobs[4].id], 3)
    assert titles(store) == ["d", "f", "a", "b", "c"]


def test_a_higher_priority_runs_first_and_a_running_job_keeps_its_own_for_later(store: Store) -> None:
    first, second, third = (put(store, title) for title in ("first", "second", "third"))
    store.set_priority(third.id, 2)
    store.set_priority(first.id, -2)
    assert titles(store) == ["third", "second", "first"]
    running = store.claim(ONE, "cpu")
    assert running is not None
    assert running.id == third.id
    assert store.set_priority(third.id, -5).state == "running"
    store.release(third.id, "queued")
    assert titles(store) == ["second", "first", "third"]
    store.cancel(second.id)
    with pytest.raises(InputError, match="is cancelled"):
        store.set_priority(second.id, 1)


@pytest.mark.parametrize("priority", [100, -100, 10**30])
def test_a_priority_has_bounds(store: Store, priority: int) -> None:
    job = put(store)
    with pytest.raises(InputError, match="from -99 to 99"):
        store.set_priority(job.id, priority)
    with pytest.raises(InputError, match="from -99 to 99"):
        put(store, priority=priority)
    assert [(job.id, job.priority) for job in store.jobs()] == [(1, 0)]


def test_a_verb_on_several_jobs_leaves_those_that_it_does_not_fit(store: Store) -> None:
    jobs = [put(store).id for _ in range(3)]
    store.cancel(jobs[1])
    assert [job.id for job in store.each(store.pause, jobs)] == [jobs[0], jobs[2]]
    assert [store.job(job).state for job in jobs] == ["paused", "cancelled", "paused"]
    with pytest.raises(InputError, match="only failed, cancelled"):
        store.each(store.retry, [jobs[0], jobs[2]])


def test_a_verb_on_several_jobs_is_one_change_of_the_queue(store: Store) -> None:
    jobs = [put(store).id for _ in range(3)]

    def pause(job_id: int) -> Job:
        if job_id == jobs[2]:
            raise OSError("no more")
        return store.pause(job_id)

    with pytest.raises(OSError, match="no more"):
        store.each(pause, jobs)
    assert {store.job(job).state for job in jobs} == {"queued"}


def test_a_job_put_back_goes_before_what_was_waiting(store: Store) -> None:
    first = put(store, "first")
    put(store, "second")
    store.claim(ONE, "cpu")
    third = put(store, "third")
    store.move(third.id, 0)
    store.release(first.id, "queued", "the worker was asked to end")
    assert titles(store) == ["first", "third", "second"]


def test_finish_of_a_job_that_is_no_longer_running_changes_nothing(store: Store) -> None:
    job = put(store)
    store.cancel(job.id)
    store.finish(job.id)
    store.fail(job.id, "late")
    assert store.job(job.id).state == "cancelled"
    assert store.job(job.id).error is None


def test_results_add_up(store: Store) -> None:
    job = put(store)
    store.claim(ONE, "cpu")
    store.update_result(job.id, {"clip": "a"})
    store.finish(job.id, {"seconds": 3})
    assert store.job(job.id).result == {"clip": "a", "seconds": 3}


def test_the_first_crash_puts_back_the_second_sets_aside(store: Store) -> None:
    job, other = put(store, "bad"), put(store, "good")
    for worker in (ONE, TWO):
        claimed = store.claim(worker, "cpu")
        assert claimed is not None
        assert claimed.id == job.id
        store.begin_stage(store.stages(job.id)[0].id, 25)
        store.recover(lambda _: False)
    state = store.job(job.id)
    assert state.state == "set-aside"
    assert state.error is not None
    assert "2 times" in state.error
    assert "t2v" in state.error
    assert [attempt.outcome for attempt in store.attempts(job.id)] == ["crashed", "crashed"]
    following = store.claim(ONE, "cpu")
    assert following is not None
    assert following.id == other.id
    retried = store.retry(job.id)
    assert (retried.state, retried.crashes) == ("queued", 0)


def test_recovery_leaves_the_living_alone(store: Store) -> None:
    first, second = put(store), put(store)
    store.claim(ONE, "cpu")
    store.claim(TWO, "cuda:0")
    touched = store.recover(lambda worker: worker == TWO)
    assert [job.id for job in touched] == [first.id]
    assert [store.job(job.id).state for job in (first, second)] == ["queued", "running"]


def test_what_a_person_asked_of_a_job_holds_after_its_worker_died(store: Store) -> None:
    cancelled, paused = put(store), put(store)
    store.claim(ONE, "cpu")
    store.claim(ONE, "cpu")
    store.cancel(cancelled.id)
    store.pause(paused.id)
    store.recover(lambda _: False)
    assert [store.job(job.id).state for job in (cancelled, paused)] == ["cancelled", "paused"]


def test_progress_rate_and_eta(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100, 1000, 2))
    monkeypatch.setattr("vcd_studio.jobs.store.time.time", lambda: float(next(clock)))
    job = put(store)
    store.claim(ONE, "cpu")
    stage = store.stages(job.id)[0]
    store.begin_stage(stage.id, 10)
    store.progress(stage.id, 0, 10, "begins", "/p/0.png")
    store.progress(stage.id, 1, 10)
    store.progress(stage.id, 3, 10)
    now = store.stages(job.id)[0]
    assert now.rate == pytest.approx(0.7 * 0.5 + 0.3 * 1.0)
    assert now.eta == pytest.approx(7 / 0.65)
    assert (now.message, now.preview, now.progress) == ("begins", "/p/0.png", 0.3)
    assert job_progress(store.stages(job.id)) == pytest.approx(0.1)
    assert current_stage(store.stages(job.id)) == now


def test_the_log_gives_the_newest_lines_and_then_what_is_new(store: Store) -> None:
    job, other = put(store), put(store)
    for number in range(5):
        store.log(job.id, "info", f"line {number}")
        store.log(other.id, "warning", "other")
    events = store.events(job.id, limit=3)
    assert [event.text for event in events] == ["line 2", "line 3", "line 4"]
    store.log(job.id, "error", "\x1b[31mlast")
    assert [(event.level, event.text) for event in store.events(job.id, after=events[-1].id)] == [("error", "\x1b[31mlast")]


def test_changes_are_seen_here_and_from_elsewhere(store: Store) -> None:
    with Store(store.path) as other:
        seen_here, seen_there = store.changed_since(), other.changed_since()
        assert (store.changed_since(), other.changed_since()) == (seen_here, seen_there)
        put(store)
        assert store.changed_since() > seen_here
        assert other.changed_since() > seen_there


def test_clearing_forgets_finished_jobs_and_all_that_hangs_on_them(store: Store) -> None:
    done, waiting = put(store), put(store)
    store.log(done.id, "info", "x")
    store.cancel(done.id)
    assert store.clear_finished() == 1
    assert [job.id for job in store.jobs()] == [waiting.id]
    with sqlite3.connect(store.path) as connection:
        for table in ("stage", "event", "attempt"):
            assert connection.execute(f"SELECT count(*) FROM {table} WHERE job_id = ?", (done.id,)).fetchone() == (0,)


def test_jobs_of_one_project(store: Store, tmp_path: Path) -> None:
    mine = store.enqueue("segment", tmp_path / "a" / ".." / "a", "masks", ["segment"], {})
    store.enqueue("segment", tmp_path / "b", "masks", ["segment"], {})
    assert [job.id for job in store.jobs(project=tmp_path / "a")] == [mine.id]


def test_the_death_of_a_relay_says_nothing_against_its_job(store: Store, tmp_path: Path) -> None:
    job = store.enqueue("generate", tmp_path, "a clip", ["t2v"], {}, device="slurm")
    for _ in range(3):
        assert store.claim(WorkerId(1, "1", "boot"), "slurm") is not None
        store.recover(lambda worker: False)
    assert (store.job(job.id).state, store.job(job.id).crashes) == ("queued", 0)


def test_a_relay_takes_only_what_is_for_its_cluster(store: Store, tmp_path: Path) -> None:
    store.enqueue("generate", tmp_path, "anywhere", ["t2v"], {})
    assert not store.waiting("slurm")
    assert store.claim(WorkerId(1, "1", "boot"), "slurm") is None
