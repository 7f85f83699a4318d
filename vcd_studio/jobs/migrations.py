"""How the queue's file came to its present shape, oldest first. Never edit one that was released: add another."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Migration:
    """Statements that bring the file from the version before it (its place in the list) to its own."""

    date: str
    why: str
    statements: tuple[str, ...]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "2026-11-21",
        "the first shape: job, stage, attempt, event",
        (
            """
            CREATE TABLE job (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                kind TEXT NOT NULL CHECK (kind IN ('segment', 'train', 'generate')),
                project TEXT NOT NULL,
                title TEXT NOT NULL,
                state TEXT NOT NULL DEFAULT 'queued'
                    CHECK (state IN ('queued', 'running', 'paused', 'done', 'failed', 'cancelled', 'set-aside')),
                priority INTEGER NOT NULL DEFAULT 0,
                position INTEGER NOT NULL,
                batch TEXT,
                settings TEXT NOT NULL,
                device TEXT,
                created REAL NOT NULL,
                started REAL,
                finished REAL,
                error TEXT,
                traceback TEXT,
                result TEXT NOT NULL DEFAULT '{}',
                request TEXT CHECK (request IN ('cancel', 'pause')),
                crashes INTEGER NOT NULL DEFAULT 0
            )
            """,
            "CREATE INDEX job_line ON job (state, priority DESC, position, id)",
            """
            CREATE TABLE stage (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
                name TEXT NOT NULL,
                position INTEGER NOT NULL,
                state TEXT NOT NULL DEFAULT 'queued'
                    CHECK (state IN ('queued', 'running', 'paused', 'done', 'failed', 'cancelled')),
                step INTEGER NOT NULL DEFAULT 0,
                steps INTEGER NOT NULL DEFAULT 0,
                rate REAL,
                ticked REAL,
                started REAL,
                finished REAL,
                message TEXT,
                artefact TEXT,
                preview TEXT,
                UNIQUE (job_id, position)
            )
            """,
            """
            CREATE TABLE attempt (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
                pid INTEGER NOT NULL,
                start TEXT NOT NULL,
                boot TEXT NOT NULL,
                device TEXT NOT NULL,
                started REAL NOT NULL,
                finished REAL,
                outcome TEXT NOT NULL DEFAULT 'running',
                reason TEXT
            )
            """,
            "CREATE INDEX attempt_job ON attempt (job_id, id)",
            "CREATE UNIQUE INDEX attempt_open ON attempt (job_id) WHERE outcome = 'running'",
            """
            CREATE TABLE event (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
                time REAL NOT NULL,
                level TEXT NOT NULL,
                text TEXT NOT NULL
            )
            """,
            "CREATE INDEX event_job ON event (job_id, id)",
        ),
    ),
    Migration(
        "2026-11-21",
        "a fourth kind of job: evaluate",
        (
            # A column with a wider check takes the old one's place; rebuilding the table would cascade into its stages.
            """
            ALTER TABLE job ADD COLUMN wider TEXT NOT NULL DEFAULT 'generate'
                CHECK (wider IN ('segment', 'train', 'generate', 'evaluate'))
            """,
            "UPDATE job SET wider = kind",
            "ALTER TABLE job DROP COLUMN kind",
            "ALTER TABLE job RENAME COLUMN wider TO kind",
        ),
    ),
    Migration(
        "2026-11-25",
        "a queue of many thousands: every job bears the number of its last change, and a device's next job is found without a search",
        (
            "ALTER TABLE job ADD COLUMN change INTEGER NOT NULL DEFAULT 0",
            "CREATE TABLE change (number INTEGER NOT NULL)",
            "INSERT INTO change VALUES (0)",
            "CREATE INDEX job_change ON job (change)",
            "CREATE INDEX job_device_line ON job (state, device, priority DESC, position, id)",
            "CREATE INDEX job_position ON job (position)",
            "CREATE INDEX job_ended ON job (state, kind, finished DESC)",
            """
            CREATE TRIGGER job_made AFTER INSERT ON job BEGIN
                UPDATE change SET number = number + 1;
                UPDATE job SET change = (SELECT number FROM change) WHERE id = NEW.id;
            END
            """,
            """
            CREATE TRIGGER job_changed AFTER UPDATE ON job WHEN NEW.change = OLD.change BEGIN
                UPDATE change SET number = number + 1;
                UPDATE job SET change = (SELECT number FROM change) WHERE id = NEW.id;
            END
            """,
            """
            CREATE TRIGGER stage_changed AFTER UPDATE ON stage BEGIN
                UPDATE change SET number = number + 1;
                UPDATE job SET change = (SELECT number FROM change) WHERE id = NEW.job_id;
            END
            """,
        ),
    ),
)


def version_of(connection: sqlite3.Connection) -> int:
    """How many migrations this file has seen."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Apply what is missing, all in one transaction; the number applied. The file must not be newer than the list."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        missing = migrations[version_of(connection) :]
        for migration in missing:
            for statement in migration.statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return len(missing)
