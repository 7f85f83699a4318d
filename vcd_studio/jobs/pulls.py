"""Packs that are being fetched: each by a process of its own that outlives the terminal, and tells in a file how far it is."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from vcd_studio.catalog.shipped import shipped_pack
from vcd_studio.jobs.model import WorkerId
from vcd_studio.jobs.processes import detached, is_alive, last_line, this_process
from vcd_studio.locations import state_dir
from vcd_studio.project.errors import InputError
from vcd_studio.project.paths import write_atomic

TICK = 0.5
"""Seconds between two words on the progress."""
PullState = Literal["running", "done", "failed", "dead"]


@dataclass(frozen=True)
class Pull:
    """One pack's fetching: which file it is at, how many of its bytes are here, and how many come in a second. "dead": it ended without
    a word."""

    pack: str
    process: WorkerId
    state: PullState = "running"
    file: str = ""
    done: int = 0
    total: int = 0
    rate: float = 0.0
    problem: str = ""
    small: bool = False


def pulls_dir() -> Path:
    return state_dir() / "pulls"


def pulls() -> list[Pull]:
    """Every pack's last fetching, by name."""
    found = []
    for path in sorted(pulls_dir().glob("*.json")):
        try:
            told = json.loads(path.read_bytes())
            pull = Pull(**{**told, "process": WorkerId(**told["process"])})
        except (OSError, ValueError, TypeError, KeyError):  # of another release
            continue
        ended = pull.state == "running" and not is_alive(pull.process)
        found.append(replace(pull, state="dead", problem=last_line(log_path(pull.pack))) if ended else pull)
    return found


def log_path(pack: str) -> Path:
    return pulls_dir() / f"{pack}.log"


def start_pull(pack: str, motion: str = "", *, small: bool = False) -> None:
    """Begin to fetch a shipped pack in the background, or go on with it. InputError where that runs already."""
    name = shipped_pack(pack, motion, small=small).name
    if any(pull.pack == name and pull.state == "running" for pull in pulls()):
        raise InputError(f"{name} is being fetched already.")
    pulls_dir().mkdir(parents=True, exist_ok=True)
    options = ["--motion", motion] if motion else []
    detached(["vcd_studio.cli", "models", "pull", pack, *options, *(["--small"] if small else [])], log_path(name))


class Telling:
    """Within it, what a fetching says of itself goes into its file; whatever ends it, so does that."""

    def __init__(self, pack: str, *, small: bool = False) -> None:
        self._pull = Pull(pack, this_process(), small=small)
        self._path = pulls_dir() / f"{pack}.json"
        self._written = 0.0
        self._begun: tuple[float, int] = (0.0, 0)

    def __enter__(self) -> Self:
        pulls_dir().mkdir(parents=True, exist_ok=True)
        self._write()
        return self

    def tell(self, file: str, done: int, total: int) -> None:
        """Bytes ``done`` of ``total`` of a file are here."""
        other = file != self._pull.file
        if other:
            self._begun = time.monotonic(), done
        since, there = self._begun
        rate = (done - there) / max(time.monotonic() - since, 1e-3)
        self._pull = replace(self._pull, file=file, done=done, total=total, rate=rate)
        if other or time.monotonic() - self._written >= TICK:
            self._write()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        problem = "" if error is None else str(error).splitlines()[0] if str(error) else "stopped"
        self._pull = replace(self._pull, state="done" if error is None else "failed", problem=problem)
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        write_atomic(self._path, json.dumps(asdict(self._pull)).encode())
