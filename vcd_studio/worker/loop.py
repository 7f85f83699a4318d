"""The worker's life: hold the device, recover, claim, run stage after stage, wait; leave nothing half-said when asked to end."""

from __future__ import annotations

import argparse
import errno
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TypeVar

from vcd_studio.jobs.model import Job, Stage
from vcd_studio.jobs.processes import is_alive, parent
from vcd_studio.jobs.store import Store, StoreError
from vcd_studio.jobs.workers import BUS_ORDER, resolve_device
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import plain
from vcd_studio.settings import load_settings
from vcd_studio.worker import ladder
from vcd_studio.worker.context import StageContext
from vcd_studio.worker.durable import settle
from vcd_studio.worker.interrupts import FreshProcess, Interrupted
from vcd_studio.worker.keeper import FRESH
from vcd_studio.worker.lease import Lease, WakeUp
from vcd_studio.worker.leftovers import sweep
from vcd_studio.worker.networks import NetworkKeeper, set_up_device
from vcd_studio.worker.stages import STAGES

StageFunction = Callable[[StageContext], str | None]
T = TypeVar("T")
POLL_SECONDS = 1.0
QUEUE_SECONDS = 600.0
"""How long the device is held for a queue that cannot be written."""
OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""How libraries written in Rust tell of an error of the operating system."""


class Worker:
    """Runs jobs on one device. ``stages`` maps stage names to what does them."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        wake_up: WakeUp,
        stages: Mapping[str, StageFunction] = STAGES,
        precision: str = "auto",
    ) -> None:
        self.store = store
        self.lease = lease
        self.wake_up = wake_up
        self.stages = stages
        self.networks = NetworkKeeper(lease.device, precision)
        self.asked_to_end = False
        self.has_worked = False

    def end(self, *_: object) -> None:
        """After the step in hand. Safe in a signal handler."""
        self.asked_to_end = True
        self.wake_up.ring()

    def run(self, once: bool = False) -> None:
        """Work until asked to end; with ``once`` only until no job is waiting."""
        while not self.asked_to_end:
            for job in self._once_it_can(lambda: self.store.recover(is_alive)):
                print(f"job {job.id} was left by a dead worker: now {job.state}", flush=True)
            job_in_hand = self._once_it_can(lambda: self.store.claim(self.lease.worker, self.lease.device))
            if job_in_hand is not None:
                self._run_or_put_back(job_in_hand)
            elif once:
                return
            else:
                self.wake_up.wait(POLL_SECONDS)

    def _run_or_put_back(self, job: Job) -> None:
        """A job that the queue itself fails (its disk is full) goes back into the line, once that can be written; it is not to blame."""
        try:
            self.run_job(job)
        except StoreError as error:
            reason = plain(str(error))
            print(f"job {job.id} waits to be put back: {reason}", file=sys.stderr, flush=True)
            self._once_it_can(lambda: self.store.put_back(job.id, reason))
            self.wake_up.wait(POLL_SECONDS)

    def _once_it_can(self, write: Callable[[], T]) -> T:
        """What ``write`` hands back; tried again while the queue cannot be written. StoreError after QUEUE_SECONDS, or if asked to end."""
        until = time.monotonic() + QUEUE_SECONDS
        said = ""
        while True:
            try:
                return write()
            except StoreError as error:
                if self.asked_to_end or time.monotonic() > until:
                    raise
                if said != (said := plain(str(error))):
                    print(f"{said} Trying again for {QUEUE_SECONDS / 60:.0f} minutes.", file=sys.stderr, flush=True)
                self.wake_up.wait(POLL_SECONDS)

    def run_job(self, job: Job) -> None:
        """One attempt at a claimed job; how it ended is in the store afterwards. StoreError and FreshProcess alone come through."""
        self.store.log(job.id, "info", f"worker {self.lease.worker.pid} on {self.lease.device} takes the job")
        where = "the job"
        try:
            if len(self.store.attempts(job.id)) > 1:
                sweep(self.store, job)
            self._reopen_stages(job)
            for stage in self.store.stages(job.id):
                where = f"stage {stage.name}"
                self._run_stage(job, stage)
            self.store.finish(job.id)
            self.store.log(job.id, "info", "done")
        except Interrupted as stop:
            self.store.release(job.id, stop.state, stop.reason)
            self.store.log(job.id, "info", f"{where} stopped: {stop.reason}")
            if isinstance(stop, FreshProcess):
                raise
            if stop.state == "paused":  # nobody knows for how long: the card is free meanwhile
                stop.__traceback__ = None  # its frames hold tensors
                self.networks.release()
        except StoreError:
            raise
        except Exception as error:
            sentence = self._removed(job, error) or explain(error, where)
            self.store.fail(job.id, sentence, traceback.format_exc())
            self.store.log(job.id, "error", sentence)
            print(plain(traceback.format_exc(), lines=True), file=sys.stderr, flush=True)
            self.networks.after_failure(error)
        finally:
            self.networks.relief = ladder.Relief()

    def _run_stage(self, job: Job, stage: Stage) -> None:
        replaceable = self.has_worked and self.lease.is_kept
        context = StageContext(self.store, job, stage, self.lease.device, self.networks, lambda: self.asked_to_end, replaceable)
        if stage.state == "done":
            context.log("was finished by an earlier attempt: going on from there")
            return
        context.check()
        if stage.name not in self.stages:
            raise InputError(f"This version knows no stage {stage.name}; it knows {', '.join(self.stages)}.")
        self.store.begin_stage(stage.id)
        context.stage = replace(stage, state="running")
        context.log("begins")
        self.has_worked = True
        artefact = ladder.run(self.stages[stage.name], context)
        if artefact is not None and Path(artefact).exists():
            settle(Path(artefact))
        self.store.finish_stage(stage.id, artefact)
        context.log("finished")


    def _reopen_stages(self, job: Job) -> None:
        """Finished stages whose artefact somebody has taken away are to be done again."""
        for stage in self.store.stages(job.id):
            if stage.state == "done" and _is_gone(stage.artefact):
                self.store.reopen_stage(stage.id)
                self.store.log(job.id, "warning", f"{stage.name}: {plain(str(stage.artefact))} is gone, so this stage runs again")

    def _removed(self, job: Job, error: Exception) -> str | None:
        """One sentence, where the job failed because what it had made was taken away under its hands."""
        result, refused = self.store.job(job.id).result, system_error(error)
        made = [stage.artefact for stage in self.store.stages(job.id) if stage.state == "done"]
        if refused and refused.errno == errno.ENOENT:
            made += [result.get("run"), result.get("clip")]
        gone = next(filter(_is_gone, made), None)
        return f"{plain(gone)} was removed while the job ran; retry makes it anew." if gone else None


def _is_gone(path: str | None) -> bool:
    return path is not None and not Path(path).exists()


def explain(error: Exception, where: str) -> str:
    """One sentence for a person; the traceback says the rest."""
    if isinstance(error, InputError):
        return str(error)
    refused = system_error(error)
    if refused and refused.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full ({refused.filename or where}); free some space and retry the job: finished stages are kept."
    if refused and refused.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"{refused.filename or 'A file'} cannot be written ({refused.strerror}); change its permissions and retry the job."
    if ladder.is_out_of_memory(error):
        return f"There was not enough memory for {where}; choose a smaller size or fewer frames per context window, and retry the job."
    first = (str(error).strip().splitlines() or ["no message"])[0]
    return f"{where[0].upper()}{where[1:]} failed unexpectedly ({type(error).__name__}: {first})."


def system_error(error: BaseException) -> OSError | None:
    """The operating system's own error behind this one: torch raises another while it handles it, safetensors has it in its words alone."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError):
            return behind
        if told := OS_ERROR.search(str(behind)):
            return OSError(int(told[1]), os.strerror(int(told[1])))
        behind = behind.__cause__ or behind.__context__
    return None


def main(arguments: Sequence[str] | None = None, stages: Mapping[str, StageFunction] = STAGES) -> int:
    """The worker process: 0 when asked to end or done, 1 when the queue failed, 2 for wrong input (a second worker on the device), FRESH
    when another process shall go on."""
    parser = argparse.ArgumentParser(prog="python -m vcd_studio.worker", description="Work on the queue with one device.")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default: auto)")
    parser.add_argument("--once", action="store_true", help="end when no job is waiting")
    parser.add_argument("--kept", type=int, metavar="PID", help="the process that started this one, and starts it again if it dies")
    options = parser.parse_args(arguments)
    keeper = parent(options.kept)
    os.environ.setdefault("CUDA_DEVICE_ORDER", BUS_ORDER)

    def work() -> None:
        settings, device = load_settings(), resolve_device(options.device)
        if device != "cpu":
            set_up_device(device)  # a worker without its card would take every job, and fail it
        with Store() as store, Lease(device, keeper) as lease, WakeUp(device) as wake_up:
            worker = Worker(store, lease, wake_up, stages, settings.precision)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, _handler(worker))
            print(f"worker {lease.worker.pid} holds {lease.device}; queue {store.path}", flush=True)
            worker.run(once=options.once)
            print(f"worker {lease.worker.pid} ends", flush=True)

    return exit_code_of(work)


def exit_code_of(work: Callable[[], None]) -> int:
    """What a process that holds a device ends with, after a sentence on what went wrong: as in :func:`main`."""
    try:
        work()
    except FreshProcess as stop:
        print(f"worker {os.getpid()} ends: {stop.reason}", flush=True)
        return FRESH
    except StoreError as error:
        print(plain(str(error)), file=sys.stderr)
        return 1
    except InputError as error:
        print(plain(str(error)), file=sys.stderr)
        return 2
    return 0


def _handler(worker: Worker) -> Callable[[int, FrameType | None], None]:
    return lambda number, frame: worker.end()
