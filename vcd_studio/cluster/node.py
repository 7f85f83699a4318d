"""On a node: one job of somebody's queue, done by an ordinary worker on a queue of its own, which tells what happens in a journal."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vcd_studio import __version__
from vcd_studio.cluster.errand import Errand
from vcd_studio.cluster.journal import repeat
from vcd_studio.jobs.copies import Rows, put_copy
from vcd_studio.jobs.model import JobState, Level, Request
from vcd_studio.jobs.store import Store
from vcd_studio.jobs.workers import resolve_device
from vcd_studio.project.errors import InputError
from vcd_studio.settings import load_settings
from vcd_studio.worker.lease import Lease, WakeUp
from vcd_studio.worker.loop import StageFunction, Worker
from vcd_studio.worker.stages import STAGES

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

TICK = 1.0
"""Seconds between two words on the progress: each is a write to a file system that many share."""
PATIENCE = 60.0
"""Seconds that a worker has for its step when its node is taken away; Slurm is asked for 90."""


class NodeStore(Store):
    """The queue of the node's worker, on the node's own disk: all that the worker says is told in the journal as well."""

    def __init__(self, path: Path, errand: Errand) -> None:
        super().__init__(path)
        self.errand = errand
        self._told = 0.0
        self._ending: tuple[Any, ...] | None = None

    def requested(self, job_id: int) -> Request | None:
        return self.errand.asked() or super().requested(job_id)

    def log(self, job_id: int, level: Level, text: str) -> None:
        super().log(job_id, level, text)
        self.errand.journal.tell("log", job_id, level, text)

    def begin_stage(self, stage_id: int, steps: int = 0, message: str | None = None) -> None:
        super().begin_stage(stage_id, steps, message)
        self.errand.journal.tell("begin_stage", stage_id, steps, message)

    def progress(self, stage_id: int, step: int, steps: int, message: str | None = None, preview: str | None = None) -> None:
        super().progress(stage_id, step, steps, message, preview)
        if time.monotonic() - self._told >= TICK or step in (0, steps) or preview:
            self._told = time.monotonic()
            self.errand.journal.tell("progress", stage_id, step, steps, message, preview)

    def finish_stage(self, stage_id: int, artefact: str | None = None) -> None:
        super().finish_stage(stage_id, artefact)
        self.errand.journal.tell("finish_stage", stage_id, artefact)

    def update_result(self, job_id: int, values: Mapping[str, Any]) -> None:
        super().update_result(job_id, values)
        self.errand.journal.tell("update_result", job_id, dict(values))

    def finish(self, job_id: int, result: Mapping[str, Any] | None = None) -> None:
        super().finish(job_id, result)
        self._ending = "finish", job_id

    def fail(self, job_id: int, error: str, traceback: str | None = None) -> None:
        super().fail(job_id, error, traceback)
        self._ending = "fail", job_id, error, traceback

    def release(self, job_id: int, state: JobState, reason: str | None = None) -> None:
        super().release(job_id, state, reason)
        self._ending = "release", job_id, state, reason

    def tell_end(self) -> None:
        """How it ended: the journal's last line, after which the relay reads no more."""
        if self._ending is not None:
            self.errand.journal.tell(*self._ending)


class NodeJob:
    """What Slurm runs: called on the node, and called again there, or on another, after the node was taken away."""

    def __init__(self, folder: str, stages: Mapping[str, StageFunction] | None = None) -> None:
        self.folder = folder
        self.stages = stages
        self._worker: Worker | None = None
        self._thread: threading.Thread | None = None

    def __call__(self) -> None:
        """The job is done, failed, paused or cancelled afterwards, and the journal says so."""
        errand = Errand(Path(self.folder))
        os.environ["VCD_HOME"] = str(errand.home)
        about = errand.read()
        number = about["rows"]["job"][0]["id"]
        errand.journal.tell("log", number, "info", f"the node {socket.gethostname()} takes the job")
        try:
            _check(about)
            device = "cpu" if about["gpus"] == 0 else resolve_device()
            with tempfile.TemporaryDirectory(prefix="vcd-studio-", ignore_cleanup_errors=True) as own:
                self._work(errand, Path(own, "queue.sqlite3"), about["rows"], device)
        except InputError as error:
            errand.journal.tell("fail", number, str(error))

    def _work(self, errand: Errand, queue: Path, rows: Rows, device: str) -> None:
        with Store(queue) as store:
            put_copy(store, rows)
            repeat(errand.journal.read()[0], store, rows["job"][0]["id"])  # what was done before the node was taken away
        lease = Lease(device)  # not entered, nor is the wake-up: the cluster has given us the device, and nobody else rings
        with NodeStore(queue, errand) as store:
            job = store.claim(lease.worker, device)
            if job is None:
                raise InputError("The job could not be taken over from the relay; retry it.")
            settings = load_settings()
            self._worker = Worker(store, lease, WakeUp(device), self.stages or STAGES, settings.precision)
            # In a thread, so that the handler of a signal, which runs in the main one, can wait for the step in hand.
            self._thread = threading.Thread(target=self._worker.run_job, args=(job,), daemon=True)
            self._thread.start()
            self._thread.join()
            store.tell_end()  # not reached where the node is taken away: the job has not ended then

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit when the node is taken away or the time is up: the step in hand is done and what there is, saved."""
        from submitit.core.utils import DelayedSubmission

        if self._worker is not None and self._thread is not None:
            self._worker.asked_to_end = True
            self._thread.join(PATIENCE)
        return DelayedSubmission(NodeJob(self.folder, self.stages))


def _check(about: dict[str, Any]) -> None:
    """InputError where this node cannot do the job as it was meant."""
    if about["version"] != __version__:
        raise InputError(f"The job was handed over by VCD Studio {about['version']}, but the node has {__version__}; retry it.")
    project = Path(about["rows"]["job"][0]["project"])
    if not project.is_dir():
        raise InputError(f"The node {socket.gethostname()} does not see {project}; put the project where the nodes see it too.")
