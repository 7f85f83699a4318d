"""The queue: every verb is one transaction. People's side here; the worker's side in the second half of the class."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from vcd_studio.jobs.database import Database, StoreError
from vcd_studio.jobs.model import (
    CLUSTERS,
    FINISHED,
    HIGHEST_PRIORITY,
    Attempt,
    Event,
    Job,
    JobKind,
    JobState,
    Level,
    Outcome,
    Request,
    Stage,
    WorkerId,
)
from vcd_studio.jobs.rows import to_attempt, to_event, to_job, to_stage
from vcd_studio.locations import store_path
from vcd_studio.project.errors import InputError

MAX_CRASHES = 2
"""A job that has ended its worker this often is set aside."""

SMOOTHING = 0.3
"""Weight of the newest step in a stage's rate."""

ENDED = "max(?, coalesce(started, 0))"
"""When something ended, by a clock that may have been set back since it started; NULL for what has not."""

NEXT = """
    SELECT id FROM (
        SELECT * FROM (
            SELECT id, priority, position FROM job WHERE state = 'queued' AND device IS NULL
            ORDER BY priority DESC, position, id LIMIT 1
        )
        UNION ALL
        SELECT * FROM (
            SELECT id, priority, position FROM job WHERE state = 'queued' AND device = :device
            ORDER BY priority DESC, position, id LIMIT 1
        )
    ) ORDER BY priority DESC, position, id LIMIT 1
"""
"""The next job of a device: the first of those that take any, or of its own."""

NEXT_OF_ITS_OWN = "SELECT id FROM job WHERE state = 'queued' AND device = :device ORDER BY priority DESC, position, id LIMIT 1"
"""The next job of a cluster, which takes none that did not ask for it."""

TAKE = """
    UPDATE job SET state = 'running', started = coalesce(started, :now), finished = NULL, request = NULL
    WHERE id = ({})
    RETURNING *
"""
CLAIM = TAKE.format(NEXT)
CLAIM_OF_ITS_OWN = TAKE.format(NEXT_OF_ITS_OWN)

ORDER = """
    CASE state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 WHEN 'paused' THEN 2 ELSE 3 END,
    CASE WHEN state IN ('running', 'queued', 'paused') THEN -priority ELSE 0 END,
    CASE WHEN state IN ('running', 'queued', 'paused') THEN position ELSE -coalesce(finished, 0) END, id
"""
"""Running ones first, then the waiting line in its order, then the rest, newest first."""

CHANGED = "SELECT * FROM job WHERE change > ? ORDER BY change"

NEWEST_DONE = "SELECT * FROM job WHERE state = 'done' AND kind = ? AND json_extract(settings, '$.pack') = ? ORDER BY finished DESC LIMIT ?"


class Store:
    """The queue's file. Any number of processes and threads may hold one.

    Raises StoreError (an InputError) where the file cannot be used, InputError where a job does not exist or a verb does not fit its state.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.database = Database(path or store_path())
        self.path = self.database.path

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def changed_since(self) -> int:
        """A number that grows whenever anything in the queue has changed: poll it, and read again only when it differs."""
        return self.database.revision()

    # ── reading ──

    def jobs(self, project: Path | None = None, states: Iterable[JobState] | None = None, batch: str | None = None) -> list[Job]:
        """All jobs, or those of a project, in some states, of a batch; in their ORDER."""
        where, values = ["1"], []
        if batch is not None:
            where.append("batch = ?")
            values.append(batch)
        if project is not None:
            where.append("project = ?")
            values.append(str(Path(project).resolve()))
        if states is not None:
            wanted = list(states)
            where.append(f"state IN ({', '.join('?' * len(wanted))})")
            values.extend(wanted)
        with self.database.read() as connection:
            rows = connection.execute(f"SELECT * FROM job WHERE {' AND '.join(where)} ORDER BY {ORDER}", values)
            return [to_job(row) for row in rows]

    def order(self) -> list[int]:
        """The numbers of all jobs, in their ORDER."""
        with self.database.read() as connection:
            return [row["id"] for row in connection.execute(f"SELECT id FROM job ORDER BY {ORDER}")]

    def count(self) -> int:
        """How many jobs there are."""
        with self.database.read() as connection:
            return int(connection.execute("SELECT count(*) FROM job").fetchone()[0])

    def change(self) -> int:
        """The number of the last change to any job or stage."""
        with self.database.read() as connection:
            return int(connection.execute("SELECT number FROM change").fetchone()[0])

    def changed_jobs(self, since: int) -> list[Job]:
        """The jobs that were made or changed, they or a stage of theirs, after the change of this number."""
        with self.database.read() as connection:
            return [to_job(row) for row in connection.execute(CHANGED, (since,))]

    def newest_done(self, kind: JobKind, pack: str, limit: int) -> list[Job]:
        """The jobs of this kind and pack that were done last, newest first."""
        with self.database.read() as connection:
            return [to_job(row) for row in connection.execute(NEWEST_DONE, (kind, pack, limit))]

    def job(self, job_id: int) -> Job:
        """Raises InputError when there is none."""
        with self.database.read() as connection:
            row = connection.execute("SELECT * FROM job WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise InputError(f"There is no job {job_id} in the queue; `vcd-studio queue list` shows those there are.")
        return to_job(row)

    def stages(self, job_id: int) -> list[Stage]:
        """In the order in which they run."""
        return self.all_stages([job_id]).get(job_id, [])

    def all_stages(self, job_ids: Iterable[int]) -> dict[int, list[Stage]]:
        """The stages of many jobs in one query."""
        found: dict[int, list[Stage]] = {job_id: [] for job_id in job_ids}
        with self.database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM stage WHERE job_id IN (SELECT value FROM json_each(?)) ORDER BY job_id, position", (json.dumps(list(found)),)
            )
            for row in rows:
                found[row["job_id"]].append(to_stage(row))
        return found

    def attempts(self, job_id: int) -> list[Attempt]:
        with self.database.read() as connection:
            rows = connection.execute("SELECT * FROM attempt WHERE job_id = ? ORDER BY id", (job_id,)).fetchall()
        return [to_attempt(row) for row in rows]

    def events(self, job_id: int, after: int = 0, limit: int = 500) -> list[Event]:
        """The job's log lines with an id above ``after``, oldest first; where there are more than ``limit``, the newest of them."""
        with self.database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM event WHERE job_id = ? AND id > ? ORDER BY id DESC LIMIT ?", (job_id, after, limit)
            ).fetchall()
        return [to_event(row) for row in reversed(rows)]

    def open_attempts(self) -> list[Attempt]:
        """Who is running what right now, as far as the queue knows."""
        with self.database.read() as connection:
            rows = connection.execute("SELECT * FROM attempt WHERE outcome = 'running' ORDER BY id").fetchall()
        return [to_attempt(row) for row in rows]

    def waiting(self, device: str) -> bool:
        """Whether a worker on this device would find a job."""
        with self.database.read() as connection:
            row = connection.execute(NEXT_OF_ITS_OWN if device in CLUSTERS else NEXT, {"device": device}).fetchone()
        return row is not None

    # ── a person's verbs ──

    def enqueue(
        self,
        kind: JobKind,
        project: Path,
        title: str,
        stages: Sequence[str],
        settings: Mapping[str, Any],
        *,
        batch: str | None = None,
        priority: int = 0,
        device: str | None = None,
    ) -> Job:
        """Put a job at the end of the line, with its snapshot of settings (JSON)."""
        return self.enqueue_all([(title, settings)], kind, project, stages, batch=batch, priority=priority, device=device)[0]

    def enqueue_all(
        self,
        items: Sequence[tuple[str, Mapping[str, Any]]],
        kind: JobKind,
        project: Path,
        stages: Sequence[str],
        *,
        batch: str | None = None,
        priority: int = 0,
        device: str | None = None,
    ) -> list[Job]:
        """Several jobs, (title, settings) each, in one transaction: all of them or none."""
        if not stages:
            raise InputError(f"A {kind} job needs at least one stage.")
        _check_priority(priority)
        jobs = []
        with self.database.write() as connection:
            last = connection.execute("SELECT coalesce(max(position), -1) FROM job").fetchone()[0]
            for number, (title, settings) in enumerate(items, last + 1):
                row = connection.execute(
                    "INSERT INTO job (kind, project, title, priority, position, batch, settings, device, created)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                    (
                        kind,
                        str(Path(project).resolve()),
                        title,
                        priority,
                        number,
                        batch,
                        json.dumps(dict(settings)),
                        None if device == "auto" else device,
                        time.time(),
                    ),
                ).fetchone()
                connection.executemany(
                    "INSERT INTO stage (job_id, name, position) VALUES (?, ?, ?)", [(row["id"], name, i) for i, name in enumerate(stages)]
                )
                jobs.append(to_job(row))
        return jobs

    def cancel(self, job_id: int) -> Job:
        """This one job alone: a waiting or paused one at once, a running one after its step. A cancelled one stays so."""
        with self.database.write() as connection:
            state = self._state(job_id)
            if state == "running":
                connection.execute("UPDATE job SET request = 'cancel' WHERE id = ?", (job_id,))
            elif state in ("queued", "paused", "set-aside"):
                self._end(job_id, "cancelled", "cancelled")
            elif state != "cancelled":
                raise InputError(f"Job {job_id} is {state} and cannot be cancelled any more.")
        return self.job(job_id)

    def pause(self, job_id: int) -> Job:
        """Out of the line until resumed; a running one stops after its step and keeps what it has."""
        with self.database.write() as connection:
            state = self._state(job_id)
            if state == "running":
                connection.execute("UPDATE job SET request = coalesce(request, 'pause') WHERE id = ?", (job_id,))
            elif state == "queued":
                connection.execute("UPDATE job SET state = 'paused' WHERE id = ?", (job_id,))
            elif state != "paused":
                raise InputError(f"Job {job_id} is {state} and cannot be paused.")
        return self.job(job_id)

    def resume(self, job_id: int) -> Job:
        """A paused job back into the line, at its old place; takes back a pause not yet done."""
        with self.database.write() as connection:
            state = self._state(job_id)
            if state == "paused":
                connection.execute("UPDATE job SET state = 'queued' WHERE id = ?", (job_id,))
                connection.execute("UPDATE stage SET state = 'queued' WHERE job_id = ? AND state = 'paused'", (job_id,))
            elif state == "running":
                connection.execute("UPDATE job SET request = NULL WHERE id = ? AND request = 'pause'", (job_id,))
            elif state != "queued":
                raise InputError(f"Job {job_id} is {state}, not paused; retry puts it back into the line.")
        return self.job(job_id)

    def retry(self, job_id: int) -> Job:
        """A failed, cancelled or set-aside job back into the line; its finished stages stay finished."""
        with self.database.write() as connection:
            state = self._state(job_id)
            if state not in ("failed", "cancelled", "set-aside"):
                raise InputError(f"Job {job_id} is {state}; only failed, cancelled and set-aside jobs can be retried.")
            last = connection.execute("SELECT max(position) FROM job").fetchone()[0]
            connection.execute(
                "UPDATE job SET state = 'queued', position = ?, finished = NULL, error = NULL, traceback = NULL, request = NULL,"
                " crashes = 0 WHERE id = ?",
                (last + 1, job_id),
            )
            connection.execute(
                "UPDATE stage SET state = 'queued', finished = NULL, rate = NULL, message = NULL WHERE job_id = ? AND state != 'done'",
                (job_id,),
            )
        return self.job(job_id)

    def move(self, job_id: int, position: int) -> Job:
        """A waiting job to place ``position`` of the line (0: next to run); its priority follows its new neighbours'."""
        return self.move_all([job_id], position)[0]

    def move_all(self, job_ids: Iterable[int], position: int) -> list[Job]:
        """Waiting jobs as one block, in the order that they have, to place ``position`` of the line without them."""
        block = set(job_ids)
        with self.database.write() as connection:
            for job_id in block:
                if (state := self._state(job_id)) not in ("queued", "paused"):
                    raise InputError(f"Job {job_id} is {state}; only waiting jobs can be moved.")
            line = connection.execute(
                "SELECT id, priority, position FROM job WHERE state IN ('queued', 'paused') ORDER BY priority DESC, position, id"
            ).fetchall()
            before = {row["id"]: (row["position"], row["priority"]) for row in line}
            others = [(row["id"], row["priority"]) for row in line if row["id"] not in block]
            place = min(max(position, 0), len(others))
            highest = others[place - 1][1] if place > 0 else HIGHEST_PRIORITY
            lowest = others[place][1] if place < len(others) else -HIGHEST_PRIORITY
            moving = [(row["id"], max(lowest, min(highest, row["priority"]))) for row in line if row["id"] in block]
            others[place:place] = moving
            moved = [(position, priority, job) for position, (job, priority) in enumerate(others) if before[job] != (position, priority)]
            connection.executemany("UPDATE job SET position = ?, priority = ? WHERE id = ?", moved)
        return [self.job(job_id) for job_id, _ in moving]

    def set_priority(self, job_id: int, priority: int) -> Job:
        """Jobs of a higher priority run first, whatever their places; a running job has it for when it comes back into the line."""
        _check_priority(priority)
        with self.database.write() as connection:
            state = self._state(job_id)
            if state in FINISHED:
                raise InputError(f"Job {job_id} is {state}; only jobs that wait or run have a priority.")
            connection.execute("UPDATE job SET priority = ? WHERE id = ?", (priority, job_id))
        return self.job(job_id)

    def each(self, verb: Callable[[int], Job], job_ids: Iterable[int]) -> list[Job]:
        """One of the verbs above on those of these jobs that it fits, as one transaction. InputError where it fits none."""
        done: list[Job] = []
        refused: InputError | None = None
        with self.database.write():
            for job_id in job_ids:
                try:
                    done.append(verb(job_id))
                except StoreError:
                    raise
                except InputError as error:  # raised before anything of this job was changed
                    refused = error
        if refused is not None and not done:
            raise refused
        return done

    def clear_finished(self) -> int:
        """Forget done, failed, cancelled and set-aside jobs (not what they made); how many."""
        with self.database.write() as connection:
            return connection.execute(f"DELETE FROM job WHERE state IN ({', '.join('?' * len(FINISHED))})", FINISHED).rowcount

    # ── the worker's verbs ──

    def claim(self, worker: WorkerId, device: str) -> Job | None:
        """Take the next job that may run on this device; None when there is none. Two workers never get the same."""
        now = time.time()
        claim = CLAIM_OF_ITS_OWN if device in CLUSTERS else CLAIM
        with self.database.write() as connection:
            row = connection.execute(claim, {"now": now, "device": device}).fetchone()
            if row is None:
                return None
            connection.execute(
                "INSERT INTO attempt (job_id, pid, start, boot, device, started) VALUES (?, ?, ?, ?, ?, ?)",
                (row["id"], worker.pid, worker.start, worker.boot, device, now),
            )
        return to_job(row)

    def requested(self, job_id: int) -> Request | None:
        """What a person has asked of the running job. A job that is no longer running counts as cancelled."""
        with self.database.read() as connection:
            row = connection.execute("SELECT state, request FROM job WHERE id = ?", (job_id,)).fetchone()
        if row is None or row["state"] != "running":
            return "cancel"
        request: Request | None = row["request"]
        return request

    def cancel_requested(self, job_id: int) -> bool:
        return self.requested(job_id) == "cancel"

    def begin_stage(self, stage_id: int, steps: int = 0, message: str | None = None) -> None:
        with self.database.write() as connection:
            connection.execute(
                "UPDATE stage SET state = 'running', step = 0, steps = ?, rate = NULL, ticked = NULL, started = ?, finished = NULL,"
                " message = ? WHERE id = ?",
                (steps, time.time(), message, stage_id),
            )

    def progress(self, stage_id: int, step: int, steps: int, message: str | None = None, preview: str | None = None) -> None:
        """``step`` of ``steps`` are done. The rate is measured between calls; message and preview stay until replaced."""
        now = time.time()
        with self.database.write() as connection:
            row = connection.execute("SELECT step, rate, ticked FROM stage WHERE id = ?", (stage_id,)).fetchone()
            if row is None:
                return
            rate = row["rate"]
            if row["ticked"] is not None and step > row["step"] and now > row["ticked"]:
                fresh = (step - row["step"]) / (now - row["ticked"])
                rate = fresh if rate is None else (1 - SMOOTHING) * rate + SMOOTHING * fresh
            connection.execute(
                "UPDATE stage SET step = ?, steps = ?, rate = ?, ticked = ?, message = coalesce(?, message), preview = coalesce(?, preview)"
                " WHERE id = ?",
                (step, steps, rate, now, message, preview, stage_id),
            )

    def finish_stage(self, stage_id: int, artefact: str | None = None) -> None:
        """The stage is done and its artefact is on the disk: from here on nobody repeats it."""
        with self.database.write() as connection:
            connection.execute(
                f"UPDATE stage SET state = 'done', step = steps, finished = {ENDED}, artefact = ? WHERE id = ?",
                (time.time(), artefact, stage_id),
            )

    def reopen_stage(self, stage_id: int) -> None:
        """A finished stage is to be done again."""
        with self.database.write() as connection:
            connection.execute("UPDATE stage SET state = 'queued', finished = NULL, artefact = NULL WHERE id = ?", (stage_id,))

    def update_result(self, job_id: int, values: Mapping[str, Any]) -> None:
        """Add to what the job has brought so far (its clip's folder, its training run), so that a later attempt finds it."""
        with self.database.write() as connection:
            row = connection.execute("SELECT result FROM job WHERE id = ?", (job_id,)).fetchone()
            if row is not None:
                merged = {**json.loads(row["result"]), **values}
                connection.execute("UPDATE job SET result = ? WHERE id = ?", (json.dumps(merged), job_id))

    def finish(self, job_id: int, result: Mapping[str, Any] | None = None) -> None:
        """A running job is done. A job that is not running stays as it is."""
        if result:
            self.update_result(job_id, result)
        self._leave(job_id, "done", "done")

    def fail(self, job_id: int, error: str, traceback: str | None = None) -> None:
        """A running job has failed, with one sentence for a person and the traceback behind it."""
        self._leave(job_id, "failed", "failed", error, traceback)

    def release(self, job_id: int, state: JobState, reason: str | None = None) -> None:
        """A worker lets go of its running job: "queued" (the worker stops), "paused" or "cancelled" (a person asked)."""
        outcomes: dict[JobState, Outcome] = {"queued": "requeued", "paused": "paused", "cancelled": "cancelled"}
        self._leave(job_id, state, outcomes[state], reason=reason)

    def put_back(self, job_id: int, reason: str) -> None:
        """A worker lets go of its running job through no fault of the job's: to where a person asked it to go, else back into the line."""
        asked: dict[Request | None, JobState] = {"cancel": "cancelled", "pause": "paused", None: "queued"}
        self.release(job_id, asked[self.requested(job_id)], reason)

    def recover(self, alive: Callable[[WorkerId], bool]) -> list[Job]:
        """Take back the running jobs of dead workers; those touched. The second crash of the same job sets it aside.

        A cluster's job runs elsewhere, so the death of its relay says nothing against it.
        """
        touched = []
        for attempt in self.open_attempts():
            if alive(attempt.worker):
                continue
            with self.database.write() as connection:
                row = connection.execute(
                    "SELECT job.request, job.crashes FROM attempt JOIN job ON job.id = attempt.job_id"
                    " WHERE attempt.id = ? AND attempt.outcome = 'running' AND job.state = 'running'",
                    (attempt.id,),
                ).fetchone()
                if row is None:
                    continue
                self._recover_one(attempt, row["request"], row["crashes"] + (attempt.device not in CLUSTERS))
            touched.append(self.job(attempt.job_id))
        return touched

    def log(self, job_id: int, level: Level, text: str) -> None:
        """One line of the job's log."""
        with self.database.write() as connection:
            connection.execute(
                "INSERT INTO event (job_id, time, level, text) SELECT id, ?, ?, ? FROM job WHERE id = ?", (time.time(), level, text, job_id)
            )

    # ── inside a transaction ──

    def _state(self, job_id: int) -> JobState:
        return self.job(job_id).state

    def _leave(
        self,
        job_id: int,
        state: JobState,
        outcome: Outcome,
        error: str | None = None,
        traceback: str | None = None,
        reason: str | None = None,
    ) -> None:
        with self.database.write() as connection:
            row = connection.execute("SELECT state FROM job WHERE id = ?", (job_id,)).fetchone()
            if row is not None and row["state"] == "running":
                self._end(job_id, state, outcome, error, traceback, reason)

    def _end(
        self,
        job_id: int,
        state: JobState,
        outcome: Outcome,
        error: str | None = None,
        traceback: str | None = None,
        reason: str | None = None,
    ) -> None:
        now = time.time()
        connection = self.database.connection
        connection.execute(
            f"UPDATE job SET state = ?, finished = {ENDED}, error = ?, traceback = ?, request = NULL WHERE id = ?",
            (state, now if state in FINISHED else None, error, traceback, job_id),
        )
        if state == "queued":  # what was running goes on before what was waiting
            connection.execute(
                "UPDATE job SET position ="
                " min(position, (SELECT coalesce(min(position), 0) - 1 FROM job WHERE state = 'queued' AND id != ?))"
                " WHERE id = ?",
                (job_id, job_id),
            )
        stage_state = {"set-aside": "failed", "done": "done"}.get(state, state)
        moving = ("running",) if state == "failed" else ("running", "queued", "paused") if state == "cancelled" else ("running", "paused")
        connection.execute(
            f"UPDATE stage SET state = ?, finished = {ENDED} WHERE job_id = ? AND state IN ({', '.join('?' * len(moving))})",
            (stage_state, now if state in FINISHED else None, job_id, *moving),
        )
        connection.execute(
            f"UPDATE attempt SET outcome = ?, finished = {ENDED}, reason = ? WHERE job_id = ? AND outcome = 'running'",
            (outcome, now, reason or error, job_id),
        )

    def _recover_one(self, attempt: Attempt, request: Request | None, crashes: int) -> None:
        connection = self.database.connection
        connection.execute("UPDATE job SET crashes = ? WHERE id = ?", (crashes, attempt.job_id))
        stage = connection.execute(
            "SELECT name, step, steps FROM stage WHERE job_id = ? AND state = 'running'", (attempt.job_id,)
        ).fetchone()
        where = f" in stage {stage['name']}, step {stage['step']} of {stage['steps']}" if stage else ""
        who = "relay" if attempt.device in CLUSTERS else "worker"
        reason = f"The {who} (pid {attempt.worker.pid}) ended without a word{where}."
        level: Level = "warning"
        if request == "cancel":
            self._end(attempt.job_id, "cancelled", "crashed", reason=reason)
        elif crashes >= MAX_CRASHES:
            level = "error"
            sentence = (
                f"This job ended its worker {crashes} times, last{where or ' before its first stage'}; "
                "it was set aside: retry it when the cause is gone."
            )
            self._end(attempt.job_id, "set-aside", "crashed", sentence)
            reason = f"{reason} {sentence}"
        else:
            self._end(attempt.job_id, "paused" if request == "pause" else "queued", "crashed", reason=reason)
        connection.execute(
            "INSERT INTO event (job_id, time, level, text) VALUES (?, ?, ?, ?)", (attempt.job_id, time.time(), level, reason)
        )


def _check_priority(priority: int) -> None:
    if abs(priority) > HIGHEST_PRIORITY:
        raise InputError(f"{priority} is no priority; give a whole number from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}, usually 0.")


__all__ = ["MAX_CRASHES", "Store", "StoreError"]
