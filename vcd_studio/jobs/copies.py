"""A job carried to another queue, there to have the very same numbers: its row and its stages' rows, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vcd_studio.jobs.store import Store

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def copy_of(store: Store, job_id: int) -> Rows:
    """The rows of a job by table."""
    with store.database.read() as connection:
        return {
            "job": [dict(row) for row in connection.execute("SELECT * FROM job WHERE id = ?", (job_id,))],
            "stage": [dict(row) for row in connection.execute("SELECT * FROM stage WHERE job_id = ? ORDER BY position", (job_id,))],
        }


def put_copy(store: Store, rows: Rows) -> None:
    """Into a queue of the same shape that does not have the job, to be claimed there by any device."""
    with store.database.write() as connection:
        for table in ("job", "stage"):
            for row in rows[table]:
                names, marks = ", ".join(row), ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))
        connection.execute("UPDATE job SET state = 'queued', request = NULL, device = NULL")
