"""The trainer's rows: one SQLite file in WAL mode, written by the server alone.

A process that works on a job has its `attempt` number; cancel, pause and every new start raise it, and a report with an
old number changes nothing. Weights and uploaded bytes are in the object store, written before a row names them.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, bytes INTEGER NOT NULL, created_at INTEGER NOT NULL,
  filename TEXT NOT NULL, purpose TEXT NOT NULL, expires_at INTEGER
);
CREATE TABLE IF NOT EXISTS jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL, finished_at INTEGER,
  status TEXT NOT NULL CHECK (status IN
    ('validating_files', 'queued', 'running', 'publishing', 'paused', 'succeeded', 'failed', 'cancelled')),
  entered_at REAL NOT NULL,
  validated INTEGER NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0, crashes INTEGER NOT NULL DEFAULT 0,
  model TEXT NOT NULL, base TEXT NOT NULL, start_weights TEXT, suffix TEXT, seed INTEGER NOT NULL,
  training_file TEXT NOT NULL, validation_file TEXT, metadata TEXT,
  method TEXT NOT NULL, n_epochs TEXT NOT NULL, batch_size TEXT NOT NULL, rate TEXT NOT NULL, beta TEXT,
  tuned_name TEXT NOT NULL, fine_tuned_model TEXT, result_file TEXT, error TEXT,
  resume_weights TEXT, resume_step INTEGER NOT NULL DEFAULT 0,
  resume_tokens INTEGER NOT NULL DEFAULT 0, step_seconds REAL, adapter TEXT, gpus INTEGER NOT NULL DEFAULT 0,
  metered_at REAL NOT NULL DEFAULT 0, process_seconds REAL NOT NULL DEFAULT 0, gpu_seconds REAL NOT NULL DEFAULT 0,
  step INTEGER NOT NULL DEFAULT 0, total_steps INTEGER, trained_tokens INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS jobs_live ON jobs (status) WHERE status NOT IN ('succeeded', 'failed', 'cancelled');
CREATE TABLE IF NOT EXISTS events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, job_id TEXT NOT NULL REFERENCES jobs (id),
  kind TEXT NOT NULL, created_at INTEGER NOT NULL, level TEXT NOT NULL, message TEXT NOT NULL, data TEXT,
  UNIQUE (job_id, kind)
);
CREATE TABLE IF NOT EXISTS checkpoints (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, job_id TEXT NOT NULL REFERENCES jobs (id),
  step INTEGER NOT NULL, created_at INTEGER NOT NULL, name TEXT NOT NULL UNIQUE, metrics TEXT NOT NULL,
  UNIQUE (job_id, step)
);
CREATE TABLE IF NOT EXISTS models (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL, base TEXT NOT NULL,
  weights TEXT NOT NULL, is_checkpoint INTEGER NOT NULL
);
"""


class Store:
    """The rows of a data directory, one connection a thread."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        data_dir.mkdir(parents=True, exist_ok=True)
        self._local = threading.local()

    def create_tables(self) -> None:
        """Create the tables unless they exist. ValueError when they are another version's."""
        version = self._connection().execute("PRAGMA user_version").fetchone()[0]
        if version != _VERSION and self.row("SELECT 1 FROM sqlite_master WHERE name = 'jobs'") is not None:
            raise ValueError(
                f"{self._data_dir} has the data of another version of the trainer: start with an empty --data-dir, or"
                " remove it if you need none of its models"
            )
        self._connection().executescript(f"{_SCHEMA} PRAGMA user_version = {_VERSION};")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the write lock from its start; rolled back on an exception."""
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self._connection().execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        found: sqlite3.Row | None = self._connection().execute(sql, values).fetchone()
        return found

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(self._data_dir / "trainer.db", timeout=20, isolation_level=None)
            found.row_factory = sqlite3.Row
            found.execute("PRAGMA journal_mode=WAL")
            found.execute("PRAGMA synchronous=NORMAL")
            found.execute("PRAGMA foreign_keys=ON")
            self._local.connection = found
        return found
