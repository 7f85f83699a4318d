"""What a job's worker tells from its node: the verbs of its queue, one JSON line each, to be done again in another queue."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcd_studio.jobs.store import Store

JOB_VERBS = ("log", "update_result", "finish", "fail", "release")
STAGE_VERBS = ("begin_stage", "progress", "finish_stage")
ENDINGS = ("finish", "fail", "release")


class JournalError(Exception):
    """A line that no worker of this version writes."""


@dataclass(frozen=True)
class Told:
    """One verb of the store; the first of ``values`` is the job's number, or the stage's."""

    verb: str
    values: tuple[Any, ...]

    @property
    def is_end(self) -> bool:
        return self.verb in ENDINGS


class Journal:
    """The file. Opened anew for every line and every look: that is when a network file system lets others see what was written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tell(self, verb: str, *values: Any) -> None:
        """One more line, at once on its way."""
        with self.path.open("a", encoding="ascii") as file:
            file.write(json.dumps([verb, *values]) + "\n")

    def read(self, after: int = 0) -> tuple[list[Told], int]:
        """The whole lines after so many bytes, and how many bytes have been read then. JournalError for a line that is none."""
        try:
            with self.path.open("rb") as file:
                file.seek(after)
                data = file.read()
        except FileNotFoundError:
            return [], after
        whole = data[: data.rfind(b"\n") + 1]
        return [_told(line) for line in whole.splitlines()], after + len(whole)


def repeat(told: Iterable[Told], store: Store, job_id: int) -> None:
    """Do it again in ``store``. JournalError where it is about another job than this one."""
    stages = {stage.id for stage in store.stages(job_id)}
    for each in told:
        try:
            if each.values[0] not in (stages if each.verb in STAGE_VERBS else {job_id}):
                raise JournalError(f"{each.verb} is told of number {each.values[0]}")
            getattr(store, each.verb)(*each.values)
        except TypeError as error:
            raise JournalError(str(error)) from error


def newest(told: Iterable[Told]) -> list[Told]:
    """Without the progress that later progress of the same stage overtakes; a message or a preview is handed on to that."""
    kept: list[Told] = []
    for each in told:
        if kept and each.verb == kept[-1].verb == "progress" and each.values[0] == kept[-1].values[0]:
            before = kept.pop().values
            each = Told("progress", (*each.values[:3], *(now or then for now, then in zip(each.values[3:], before[3:], strict=True))))
        kept.append(each)
    return kept


def _told(line: bytes) -> Told:
    try:
        verb, *values = json.loads(line)
    except (ValueError, TypeError) as error:
        raise JournalError(f"{line[:80]!r} is no line of a journal") from error
    if verb not in (*JOB_VERBS, *STAGE_VERBS) or not values:
        raise JournalError(f"{line[:80]!r} tells nothing that a worker does")
    return Told(verb, tuple(values))
