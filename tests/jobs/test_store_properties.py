"""Whatever people and workers do in whatever order, the queue never loses, doubles or mixes up a job."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from vcd_studio.jobs.mirror import Mirror
from vcd_studio.jobs.model import Job, WorkerId
from vcd_studio.jobs.store import Store
from vcd_studio.project.errors import InputError


class Queue(RuleBasedStateMachine):
    jobs = Bundle("jobs")
    running = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Path(self.folder.name) / "queue.sqlite3")
        self.mirror = Mirror(self.store)
        self.finished_stages: dict[int, int] = {}
        self.workers = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def others(self, job_id: int) -> dict[int, tuple[str, str | None]]:
        return {job.id: (job.state, job.request) for job in self.store.jobs() if job.id != job_id}

    @rule(target=jobs, priority=st.integers(-2, 2))
    def enqueue(self, priority: int) -> int:
        job = self.store.enqueue("generate", Path("/p"), "clip", ["t2v", "face", "save"], {"seed": 1}, priority=priority)
        self.finished_stages[job.id] = 0
        return job.id

    @rule(job_id=jobs, verb=st.sampled_from(["cancel", "pause", "resume", "retry"]))
    def ask(self, job_id: int, verb: str) -> None:
        before = self.others(job_id)
        with suppress(InputError):
            getattr(self.store, verb)(job_id)
        assert self.others(job_id) == before

    @rule(job_id=jobs, place=st.integers(0, 6))
    def move(self, job_id: int, place: int) -> None:
        before = self.others(job_id)
        line = [job.id for job in self.line()]
        with suppress(InputError):
            self.store.move(job_id, place)
            now = [job.id for job in self.line()]
            assert now.index(job_id) == min(place, len(line) - 1)
            assert [other for other in now if other != job_id] == [other for other in line if other != job_id]
        assert self.others(job_id) == before

    def line(self) -> list[Job]:
        waiting = self.store.jobs(states=["queued", "paused"])
        return sorted(waiting, key=lambda job: (-job.priority, job.position, job.id))

    @rule(target=running)
    def claim(self) -> int | None:
        waiting = self.store.jobs(states=["queued"])
        self.workers += 1
        job = self.store.claim(WorkerId(self.workers, "s", "b"), "cpu")
        assert (job.id if job else None) == (waiting[0].id if waiting else None)
        return job.id if job else None

    @rule(job_id=running)
    def work(self, job_id: int | None) -> None:
        if job_id is None or self.store.job(job_id).state != "running":
            return
        unfinished = [stage for stage in self.store.stages(job_id) if stage.state != "done"]
        if unfinished:
            self.store.begin_stage(unfinished[0].id, 2)
            self.store.progress(unfinished[0].id, 1, 2)
            self.store.finish_stage(unfinished[0].id, "somewhere")
            self.finished_stages[job_id] += 1
        else:
            self.store.finish(job_id)

    @rule(job_id=consumes(running), end=st.sampled_from(["fail", "release"]))
    def stop(self, job_id: int | None, end: str) -> None:
        if job_id is None:
            return
        before = self.others(job_id)
        if end == "fail":
            self.store.fail(job_id, "broken")
        else:
            asked = self.store.requested(job_id)
            self.store.release(job_id, "cancelled" if asked == "cancel" else "paused" if asked == "pause" else "queued")
        assert self.others(job_id) == before

    @rule(dead=st.integers(0, 100))
    def crash(self, dead: int) -> None:
        living = {attempt.job_id for attempt in self.store.open_attempts() if attempt.worker.pid != dead}
        self.store.recover(lambda worker: worker.pid != dead)
        assert {attempt.job_id for attempt in self.store.open_attempts()} == living

    @invariant()
    def running_means_exactly_one_open_attempt(self) -> None:
        attempts = [attempt.job_id for attempt in self.store.open_attempts()]
        assert sorted(attempts) == sorted(job.id for job in self.store.jobs(states=["running"]))

    @invariant()
    def a_mirror_shows_what_is_there(self) -> None:
        self.mirror.look()
        assert list(self.mirror.jobs) == self.store.jobs()
        assert {job: list(stages) for job, stages in self.mirror.stages.items()} == self.store.all_stages(self.finished_stages)

    @invariant()
    def no_job_is_lost_and_no_finished_stage_forgotten(self) -> None:
        assert {job.id for job in self.store.jobs()} == set(self.finished_stages)
        for job_id, stages in self.store.all_stages(self.finished_stages).items():
            assert sum(stage.state == "done" for stage in stages) == self.finished_stages[job_id]

    @invariant()
    def states_fit_together(self) -> None:
        for job in self.store.jobs():
            stages = {stage.state for stage in self.store.stages(job.id)}
            assert ("running" in stages) <= (job.state == "running")
            assert (job.finished is not None) == job.is_finished
            assert (job.request is not None) <= (job.state == "running")
            assert job.crashes < 2 or job.state in ("set-aside", "cancelled", "paused")


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=25, stateful_step_count=30)
