"""The relay: to the queue a worker that takes a cluster's jobs, many at once; each goes to the cluster, and what its worker tells there
is repeated here. It may die at any instant: the jobs go on, and the next relay finds them again by their folders."""

from __future__ import annotations

import hashlib
import secrets
import shutil
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vcd_studio.cluster.errand import Errand
from vcd_studio.cluster.journal import JournalError, Told, newest, repeat
from vcd_studio.jobs.model import Job, Request
from vcd_studio.jobs.processes import is_alive
from vcd_studio.jobs.store import Store
from vcd_studio.project.errors import InputError
from vcd_studio.settings import ClusterSettings
from vcd_studio.worker.lease import Lease, WakeUp

POLL_SECONDS = 1.0
GRACE_SECONDS = 60.0
"""For the step in hand of a job that was cancelled; then the cluster ends it."""


class Cluster(Protocol):
    """A scheduler of others. A job is known by its folder and the number that the cluster gave it."""

    def submit(self, folder: Path, name: str) -> str: ...
    def submitted(self, folder: Path) -> str | None: ...
    def look(self) -> None: ...
    def state(self, folder: Path, number: str) -> str: ...
    def ended(self, folder: Path, number: str) -> str | None: ...
    def cancel(self, folder: Path, number: str) -> None: ...


@dataclass
class Held:
    """A job in the cluster's hands: its number there, how much of its journal was read, and what was asked of it when."""

    job: Job
    errand: Errand
    number: str
    read: int
    state: str = ""
    asked: Request | None = None
    since: float = 0.0


class Relay:
    """Takes the jobs whose device is the cluster's name."""

    def __init__(self, store: Store, lease: Lease, wake_up: WakeUp, cluster: Cluster, settings: ClusterSettings) -> None:
        self.store = store
        self.lease = lease
        self.wake_up = wake_up
        self.cluster = cluster
        self.settings = settings
        self.folder = Path(settings.folder) / _name_of(store)
        self.held: dict[int, Held] = {}
        self.asked_to_end = False

    def end(self, *_: object) -> None:
        """Soon; the cluster works on. Safe in a signal handler."""
        self.asked_to_end = True
        self.wake_up.ring()

    def run(self, once: bool = False) -> None:
        """Until asked to end; with ``once`` only until there is no job left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tidy()
        while not self.asked_to_end:
            self.store.recover(is_alive)
            self.take()
            if once and not self.held:
                return
            self.cluster.look()
            for held in list(self.held.values()):
                self.follow(held)
            self.wake_up.wait(POLL_SECONDS)
        for number in self.held:
            self.store.release(number, "queued", "the relay was asked to end; the cluster works on")

    def take(self) -> None:
        """Jobs from the line to the cluster, or back into our hands those that it has already."""
        while len(self.held) < self.settings.at_once and not self.asked_to_end:
            job = self.store.claim(self.lease.worker, self.lease.device)
            if job is None:
                return
            try:
                self.held[job.id] = self._again(job) or self._submit(job)
            except InputError as error:
                self.store.fail(job.id, str(error))
                self.store.log(job.id, "error", str(error))

    def follow(self, held: Held) -> None:
        """One look at a job: what it tells, what a person asks of it, whether it is still there."""
        try:
            if self._pass_on(held) or self._pass_request(held):
                return
            state = self.cluster.state(held.errand.folder, held.number)
            if state != held.state:
                held.state = state
                self.store.log(held.job.id, "info", f"{self.lease.device} {held.number} is {state}")
            reason = self.cluster.ended(held.errand.folder, held.number)
            if reason is not None and not self._pass_on(held):  # its last words may have come meanwhile
                self._fail(held, reason)
        except JournalError as error:
            self.cluster.cancel(held.errand.folder, held.number)
            self._fail(held, f"{held.errand.journal.path} is not as a worker writes it ({error}); retry the job.")
        except OSError as error:  # the shared folder may be away for a while
            print(f"job {held.job.id}: {error}", file=sys.stderr, flush=True)

    def tidy(self) -> None:
        """What was cancelled or cleared away while no relay ran ends in the cluster too; folders that no job needs any more go."""
        wanted = {job.result.get("cluster", {}).get("folder"): job for job in self.store.jobs() if job.device == self.lease.device}
        for folder in self.folder.glob("job-*"):
            job = wanted.get(str(folder))
            if job is not None and job.state in ("queued", "running"):
                continue
            number = self.cluster.submitted(folder)
            if number is not None and self.cluster.ended(folder, number) is None:
                self.cluster.cancel(folder, number)
            if job is None:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                self._note(job, folder, 0, still=False)

    def _submit(self, job: Job) -> Held:
        folder = self.folder / f"job-{job.id}-{secrets.token_hex(3)}"
        errand = Errand(folder)
        errand.write(self.store, job.id, self.settings.gpus)
        self._note(job, folder, 0)  # before it is submitted, so that it is found again whenever we die
        return self._known(job, errand, self.cluster.submit(folder, f"vcd-{job.id}"), "is")

    def _again(self, job: Job) -> Held | None:
        """A job that an earlier relay has handed over; None where it was not, or has ended."""
        noted = job.result.get("cluster", {})
        folder = Path(noted.get("folder", ""))
        number = self.cluster.submitted(folder) if noted.get("open") and folder.is_dir() else None
        return None if number is None else self._known(job, Errand(folder), number, "is still", noted["read"])

    def _known(self, job: Job, errand: Errand, number: str, how: str, read: int = 0) -> Held:
        self.store.log(job.id, "info", f"this {how} {self.lease.device}'s job {number}; its folder is {errand.folder}")
        print(f"job {job.id} {how} {self.lease.device} {number}", flush=True)
        return Held(job, errand, number, read)

    def _note(self, job: Job, folder: Path, read: int, *, still: bool = True) -> None:
        self.store.update_result(job.id, {"cluster": {"folder": str(folder), "read": read, "open": still}})

    def _pass_on(self, held: Held) -> bool:
        """Repeat what is new in the journal; whether the job has ended by it."""
        told, read = held.errand.journal.read(held.read)
        if not told:
            return False
        held.read = read
        if told[-1].is_end:
            repeat(newest(told[:-1]), self.store, held.job.id)
            self._end(held, told[-1])
            return True
        repeat(newest(told), self.store, held.job.id)
        self._note(held.job, held.errand.folder, read)  # were we to die before it, some lines of the log would be there twice
        return False

    def _pass_request(self, held: Held) -> bool:
        """Tell the node what a person wants; whether the job has ended by it, as one does that still waits in the cluster's line."""
        request = self.store.requested(held.job.id)
        if request != held.asked:
            held.errand.ask(request)
            held.asked, held.since = request, time.monotonic()
        overdue = request == "cancel" and time.monotonic() - held.since > GRACE_SECONDS
        if request is None or (held.read and not overdue):
            return False
        self.cluster.cancel(held.errand.folder, held.number)
        state = "cancelled" if request == "cancel" else "paused"
        self._end(held, Told("release", (held.job.id, state, f"{state} by a person")))
        return True

    def _fail(self, held: Held, sentence: str) -> None:
        self.store.log(held.job.id, "error", sentence)
        self._end(held, Told("fail", (held.job.id, sentence)))

    def _end(self, held: Held, told: Told) -> None:
        self._note(held.job, held.errand.folder, held.read, still=False)
        repeat([told], self.store, held.job.id)
        del self.held[held.job.id]
        print(f"job {held.job.id} is {self.store.job(held.job.id).state}", flush=True)


def _name_of(store: Store) -> str:
    """This queue's folder in the shared one, where other machines' queues have theirs."""
    return f"{socket.gethostname()}-{hashlib.sha256(str(store.path.resolve()).encode()).hexdigest()[:8]}"
