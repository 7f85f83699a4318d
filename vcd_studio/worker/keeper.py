"""``python -m vcd_studio.worker.keeper --device DEVICE [--once]``: a small process that starts a worker again whenever it dies."""

from __future__ import annotations

import argparse
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from vcd_studio.jobs.workers import lock_path, module_of, read_lock, resolve_device
from vcd_studio.project.errors import InputError
from vcd_studio.project.text import plain

DONE, WRONG_INPUT, FRESH = 0, 2, 75
"""Exit codes of a worker; FRESH: start another at once (the system's own word for it is EX_TEMPFAIL)."""
ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LONGEST_PAUSE = 60.0
CALM = 300.0
"""Seconds; after a worker that lived as long, the pauses begin anew."""


class Keeper:
    """Runs one worker at a time. The worker has a session of its own and needs no keeper: one that is killed leaves it at its work."""

    def __init__(self, command: Sequence[str], device: str) -> None:
        self.command = [*command, "--device", device, "--kept", str(os.getpid())]
        self.device = device
        self.worker: subprocess.Popen[bytes] | None = None
        self.asked_to_end = False
        self._hears, self._rings = os.pipe()

    def end(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal: the worker finishes its step, and that was it."""
        self.asked_to_end = True
        os.write(self._rings, b"\n")
        if self.worker is not None:
            self.worker.terminate()

    def run(self) -> int:
        """The exit code of the last worker: of one that was done, asked to end, wrongly called, or that never came to hold its device."""
        pause, held = 1.0, False
        while True:
            began = time.monotonic()
            self.worker = subprocess.Popen(self.command, start_new_session=True)
            if self.asked_to_end:  # while there was no worker yet to be told
                self.worker.terminate()
            code = self.worker.wait()
            held = held or self._names(self.worker.pid)
            if self.asked_to_end or code in (DONE, WRONG_INPUT) or -code in ASKED or not held:
                return DONE if -code in ASKED else code
            if code == FRESH:
                continue
            if time.monotonic() - began > CALM:
                pause = 1.0
            print(f"worker {self.worker.pid} on {self.device} {ending(code)}; it starts again in {pause:.0f} s", flush=True)
            select.select([self._hears], [], [], pause)
            if self.asked_to_end:
                return DONE
            pause = min(2 * pause, LONGEST_PAUSE)

    def _names(self, pid: int) -> bool:
        """Whether the device's lock file names this process: one that died leaves its name there."""
        holder = read_lock(lock_path(self.device))
        return holder is not None and holder.worker.pid == pid


def ending(code: int) -> str:
    """How a process ended, in words."""
    return f"was ended by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"ended with exit code {code}"


def keep(command: Sequence[str], device: str) -> int:
    """Run ``command`` (a worker's, without its device), again and again, until it is done or this process is asked to end."""
    keeper = Keeper(command, device)
    for number in ASKED:
        signal.signal(number, keeper.end)
    return keeper.run()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m vcd_studio.worker.keeper", description="Start a worker again whenever it dies.")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default: auto)")
    parser.add_argument("--once", action="store_true", help="end when no job is waiting")
    options = parser.parse_args(arguments)
    try:
        device = resolve_device(options.device)
    except InputError as error:
        print(plain(str(error)), file=sys.stderr)
        return WRONG_INPUT
    return keep([sys.executable, "-m", module_of(device), *(["--once"] if options.once else [])], device)


if __name__ == "__main__":
    sys.exit(main())
