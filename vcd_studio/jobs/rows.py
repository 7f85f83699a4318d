"""Rows of the queue's file as values."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from vcd_studio.jobs.model import Attempt, Event, Job, Stage, WorkerId


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


@lru_cache(maxsize=64)
def _project(path: str) -> Path:
    """One for all jobs of a project: to make ten thousand takes as long as to read the rest of them."""
    return Path(path)


def to_job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        kind=row["kind"],
        project=_project(row["project"]),
        title=row["title"],
        state=row["state"],
        priority=row["priority"],
        position=row["position"],
        batch=row["batch"],
        settings=json.loads(row["settings"]),
        device=row["device"],
        created=datetime.fromtimestamp(row["created"], UTC),
        started=_time(row["started"]),
        finished=_time(row["finished"]),
        error=row["error"],
        traceback=row["traceback"],
        result=json.loads(row["result"]),
        request=row["request"],
        crashes=row["crashes"],
    )


def to_stage(row: sqlite3.Row) -> Stage:
    return Stage(
        id=row["id"],
        job_id=row["job_id"],
        name=row["name"],
        position=row["position"],
        state=row["state"],
        step=row["step"],
        steps=row["steps"],
        rate=row["rate"],
        started=_time(row["started"]),
        finished=_time(row["finished"]),
        message=row["message"],
        artefact=row["artefact"],
        preview=row["preview"],
    )


def to_attempt(row: sqlite3.Row) -> Attempt:
    return Attempt(
        id=row["id"],
        job_id=row["job_id"],
        worker=WorkerId(row["pid"], row["start"], row["boot"]),
        device=row["device"],
        started=datetime.fromtimestamp(row["started"], UTC),
        finished=_time(row["finished"]),
        outcome=row["outcome"],
        reason=row["reason"],
    )


def to_event(row: sqlite3.Row) -> Event:
    return Event(id=row["id"], job_id=row["job_id"], time=datetime.fromtimestamp(row["time"], UTC), level=row["level"], text=row["text"])
