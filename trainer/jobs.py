"""A job's rows and its transitions by callers and by the supervisor; `recording.py` has those by training processes.

Every transition is a conditional UPDATE; zero rows mean that another process changed the job first.
"""

import json
import random
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from .engines.port import Adapter
from .ids import new_id
from .store import Store

ENDED = ("succeeded", "failed", "cancelled")
MAX_CRASHES = 5
"""A job fails after this many deaths of its training process without a new step in between."""
_COARSE_PLACES = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to create, checked. None for a setting is `auto`; `start_weights` continues from an earlier model."""

    model: str
    base: str
    start_weights: str | None
    training_file: str
    validation_file: str | None
    suffix: str | None
    seed: int | None
    metadata: dict[str, str] | None
    method: str
    n_epochs: int | None
    batch_size: int | None
    rate: float | None
    beta: float | None
    adapter: Adapter | None


def create_job(store: Store, new: NewJob) -> str:
    """Insert a job in `validating_files` with its first events. Returns its id."""
    job_id = new_id("ftjob-")
    now = time.time()
    auto = [json.dumps("auto" if v is None else v) for v in (new.n_epochs, new.batch_size, new.rate, new.beta)]
    with store.write() as db:
        db.execute(
            "INSERT INTO jobs (id, created_at, status, entered_at, model, base, start_weights, suffix, seed,"
            " training_file, validation_file, metadata, method, n_epochs, batch_size, rate, beta, adapter, tuned_name)"
            " VALUES (?, ?, 'validating_files', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                job_id,
                int(now),
                now,
                new.model,
                new.base,
                new.start_weights,
                new.suffix,
                random.randrange(2**31) if new.seed is None else new.seed,
                new.training_file,
                new.validation_file,
                json.dumps(new.metadata) if new.metadata else None,
                new.method,
                *auto,
                msgspec.json.encode(new.adapter).decode() if new.adapter is not None else None,
                f"ft:{new.base}:trainer:{_slug(new.suffix)}:{job_id[-8:]}",
            ),
        )
        add_event(db, job_id, "created", f"Created fine-tuning job: {job_id}")
        files = new.training_file + (f" and validation file: {new.validation_file}" if new.validation_file else "")
        add_event(db, job_id, "validating", f"Validating training file: {files}")
    return job_id


def cancel(store: Store, job_id: str) -> bool:
    """End a live job at once; False when it had ended otherwise. Its process stops at its next write."""
    with store.write() as db:
        moved = db.execute(
            "UPDATE jobs SET status = 'cancelled', finished_at = ?, attempt = attempt + 1"
            " WHERE id = ? AND status NOT IN ('succeeded', 'failed', 'cancelled')",
            (int(time.time()), job_id),
        ).rowcount
        if moved:
            add_event(db, job_id, "cancelled", "Fine-tuning job cancelled")
            return True
        return _status(db, job_id) == "cancelled"


def pause(store: Store, job_id: str) -> bool:
    """Pause a live job; False when it has ended, or was trained and is `publishing`."""
    with store.write() as db:
        attempt = db.execute(
            "UPDATE jobs SET status = 'paused', entered_at = ?, attempt = attempt + 1"
            " WHERE id = ? AND status IN ('validating_files', 'queued', 'running') RETURNING attempt",
            (time.time(), job_id),
        ).fetchone()
        if attempt:
            add_event(db, job_id, f"paused:{attempt[0]}", "Fine-tuning job paused")
            return True
        return _status(db, job_id) == "paused"


def resume(store: Store, job_id: str) -> bool:
    """Resume a paused job; False when it has ended. A job that is not paused stays unchanged."""
    with store.write() as db:
        attempt = db.execute(
            "UPDATE jobs SET status = CASE validated WHEN 1 THEN 'queued' ELSE 'validating_files' END,"
            " entered_at = ?, attempt = attempt + 1 WHERE id = ? AND status = 'paused' RETURNING attempt",
            (time.time(), job_id),
        ).fetchone()
        if attempt:
            add_event(db, job_id, f"resumed:{attempt[0]}", "Fine-tuning job resumed")
        return _status(db, job_id) not in ENDED


def claim(store: Store, job_id: str, *, training: bool, gpus: int) -> int | None:
    """Claim a job for a new process, fencing any earlier one; the attempt number, or None when it moved on.

    The process is metered from now on, with `gpus`.
    """
    allowed = "('queued', 'running')" if training else "('validating_files')"
    with store.write() as db:
        taken = db.execute(
            "UPDATE jobs SET attempt = attempt + 1, gpus = ?, metered_at = ?,"
            " status = CASE WHEN ? THEN 'running' ELSE status END"
            f" WHERE id = ? AND status IN {allowed} RETURNING attempt",
            (gpus, time.time(), training, job_id),
        ).fetchone()
        if taken and training:
            add_event(db, job_id, "started", "Fine-tuning job started")
        return int(taken[0]) if taken else None


def meter(store: Store, runs: Mapping[str, bool]) -> None:
    """Add the time since the last call, or since the claim, to what the jobs' processes have used.

    By job id; False for one that has no process yet, for which the time does not count.
    """
    now = time.time()
    with store.write() as db:
        db.executemany(
            "UPDATE jobs SET process_seconds = process_seconds + ?3 * max(0, ?1 - metered_at),"
            " gpu_seconds = gpu_seconds + ?3 * gpus * max(0, ?1 - metered_at), metered_at = ?1 WHERE id = ?2",
            [(now, job_id, counts) for job_id, counts in runs.items()],
        )


def queue_place(store: Store, job: sqlite3.Row) -> int | None:
    """A waiting job's place among those that wait, from 1, in the order in which they were created."""
    if job["status"] != "queued":
        return None
    row = store.row("SELECT count(*) FROM jobs WHERE status = 'queued' AND seq <= ?", job["seq"])
    return int(row[0]) if row is not None else None


def record_place(store: Store, job_id: str, place: int) -> None:
    """Add an event for a waiting job's place, once for each of a few coarse places."""
    coarse = max(step for step in _COARSE_PLACES if step <= place)
    with store.write() as db:
        text = f"Waiting for a free slot, at place {place} of the queue"
        add_event(db, job_id, f"place:{coarse}", text)


def record_wait(store: Store, job_id: str, attempt: int, waits_for: str) -> None:
    """Add an event that says what an attempt waits for before it runs, once."""
    with store.write() as db:
        add_event(db, job_id, f"waits:{attempt}", f"Waiting for {waits_for}")


def record_crash(store: Store, job_id: str, attempt: int) -> int | None:
    """Count the death of a process; how many there were without a new step, or None if another attempt owns the job."""
    with store.write() as db:
        row = db.execute(
            "UPDATE jobs SET crashes = crashes + 1 WHERE id = ? AND attempt = ?"
            " AND status IN ('validating_files', 'running') RETURNING crashes",
            (job_id, attempt),
        ).fetchone()
    return None if row is None else int(row[0])


def add_event(
    db: sqlite3.Connection,
    job_id: str,
    kind: str,
    message: str,
    *,
    level: str = "info",
    data: dict[str, Any] | None = None,
) -> None:
    """Append an event once: `kind` is unique in a job, so that a repeated step leaves no second one."""
    db.execute(
        "INSERT OR IGNORE INTO events (id, job_id, kind, created_at, level, message, data)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (new_id("ftevent-"), job_id, kind, int(time.time()), level, message, json.dumps(data) if data else None),
    )


def _status(db: sqlite3.Connection, job_id: str) -> str:
    return str(db.execute("SELECT status FROM jobs WHERE id = ?", (job_id,)).fetchone()["status"])


def _slug(suffix: str | None) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in (suffix or "").lower())
