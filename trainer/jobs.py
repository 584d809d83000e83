"""A job's rows and its transitions: callers create, cancel, pause and resume jobs, training processes do the rest.

Every transition is a conditional UPDATE; zero rows mean that another process changed the job first.
"""

import json
import random
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .engines.port import Fenced
from .ids import new_id
from .plan import Plan
from .store import Store

ENDED = ("succeeded", "failed", "cancelled")
MAX_CRASHES = 5
"""A job fails after this many deaths of its training process without a new step in between."""


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


@dataclass(frozen=True, slots=True)
class Saved:
    """Saved weights, with the number of steps and trained tokens at that point."""

    weights: str
    step: int
    tokens: int


def create_job(store: Store, new: NewJob) -> str:
    """Insert a job in `validating_files` with its first events. Returns its id."""
    job_id = new_id("ftjob-")
    now = time.time()
    auto = [json.dumps("auto" if v is None else v) for v in (new.n_epochs, new.batch_size, new.rate, new.beta)]
    with store.write() as db:
        db.execute(
            "INSERT INTO jobs (id, created_at, status, entered_at, model, base, start_weights, suffix, seed,"
            " training_file, validation_file, metadata, method, n_epochs, batch_size, rate, beta, tuned_name)"
            " VALUES (?, ?, 'validating_files', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
    """Pause a live job; False when it has ended."""
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


def claim(store: Store, job_id: str, *, training: bool) -> int | None:
    """Claim a job for a new process, fencing any earlier one; the attempt number, or None when it moved on."""
    allowed = "('queued', 'running')" if training else "('validating_files')"
    with store.write() as db:
        taken = db.execute(
            "UPDATE jobs SET attempt = attempt + 1, status = CASE WHEN ? THEN 'running' ELSE status END"
            f" WHERE id = ? AND status IN {allowed} RETURNING attempt",
            (training, job_id),
        ).fetchone()
        if taken and training:
            add_event(db, job_id, "started", "Fine-tuning job started")
        return int(taken[0]) if taken else None


def record_validation(store: Store, job_id: str, attempt: int, plan: Plan) -> None:
    """Record that both files are valid: store the resolved settings and queue the job. Raises Fenced."""
    with store.write() as db:
        _fenced_update(
            db,
            job_id,
            attempt,
            "validated = 1, status = 'queued', entered_at = ?, n_epochs = ?, batch_size = ?, rate = ?, beta = ?,"
            " total_steps = ?",
            time.time(),
            *(json.dumps(v) for v in (plan.n_epochs, plan.batch_size, plan.rate, plan.beta)),
            plan.total_steps,
        )
        add_event(db, job_id, "validated", "Files validated, moving job to queued state")


def fail(store: Store, job_id: str, attempt: int, *, code: str, message: str, param: str | None) -> None:
    """End a job with the reason. Raises Fenced."""
    error = json.dumps({"code": code, "message": message, "param": param})
    with store.write() as db:
        _fenced_update(db, job_id, attempt, "status = 'failed', finished_at = ?, error = ?", int(time.time()), error)
        add_event(db, job_id, "failed", f"Fine-tuning job failed: {message}", level="error")


def record_crash(store: Store, job_id: str, attempt: int) -> bool:
    """Count the death of a process; True when the job may start another."""
    with store.write() as db:
        row = db.execute(
            "UPDATE jobs SET crashes = crashes + 1 WHERE id = ? AND attempt = ?"
            " AND status IN ('validating_files', 'running') RETURNING crashes",
            (job_id, attempt),
        ).fetchone()
    return row is None or int(row[0]) < MAX_CRASHES


def record_step(
    store: Store,
    job_id: str,
    attempt: int,
    *,
    step: int,
    tokens: int,
    seconds: float,
    message: str,
    data: dict[str, Any],
) -> None:
    """Record a step; `tokens` is the total so far and `seconds` the step's duration. Raises Fenced.

    A step that was recorded before changes nothing.
    """
    with store.write() as db:
        _fenced_update(
            db,
            job_id,
            attempt,
            "crashes = CASE WHEN step < ? THEN 0 ELSE crashes END, trained_tokens = max(trained_tokens, ?),"
            " step = max(step, ?), step_seconds = ?",
            step,
            tokens,
            step,
            seconds,
        )
        add_event(db, job_id, f"step:{step}", message, data=data)


def record_snapshot(store: Store, job_id: str, attempt: int, saved: Saved) -> None:
    """Record saved weights, from which the job continues after an interruption. Raises Fenced."""
    with store.write() as db:
        _continue_from(db, job_id, attempt, saved)


def check_not_fenced(store: Store, job_id: str, attempt: int) -> None:
    """Raises Fenced when this process no longer owns the job."""
    if store.row("SELECT 1 FROM jobs WHERE id = ? AND attempt = ? AND status = 'running'", job_id, attempt) is None:
        raise Fenced(job_id)


def record_checkpoint(
    store: Store, job_id: str, attempt: int, saved: Saved, metrics: Mapping[str, float | int]
) -> None:
    """Record the end of an epoch: a usable checkpoint, from which the job can continue. Raises Fenced."""
    with store.write() as db:
        _continue_from(db, job_id, attempt, saved)
        row = db.execute("SELECT tuned_name, base FROM jobs WHERE id = ?", (job_id,)).fetchone()
        name = f"{row['tuned_name']}:ckpt-step-{saved.step}"
        now = int(time.time())
        db.execute(
            "INSERT OR IGNORE INTO checkpoints (id, job_id, step, created_at, name, metrics) VALUES (?, ?, ?, ?, ?, ?)",
            (new_id("ftckpt-"), job_id, saved.step, now, name, json.dumps(metrics)),
        )
        db.execute(
            "INSERT OR IGNORE INTO models (id, created_at, base, weights, is_checkpoint) VALUES (?, ?, ?, ?, 1)",
            (name, now, row["base"], saved.weights),
        )
        add_event(db, job_id, f"checkpoint:{saved.step}", f"Checkpoint created at step {saved.step}")


def succeed(store: Store, job_id: str, attempt: int, *, result_file: str, result_bytes: int) -> None:
    """End a job whose last step is done and whose weights and result file are on disk. Raises Fenced."""
    now = int(time.time())
    with store.write() as db:
        _fenced_update(
            db,
            job_id,
            attempt,
            "status = 'succeeded', finished_at = ?, fine_tuned_model = tuned_name, result_file = ?",
            now,
            result_file,
        )
        row = db.execute("SELECT tuned_name, base, resume_weights FROM jobs WHERE id = ?", (job_id,)).fetchone()
        db.execute(
            "INSERT INTO models (id, created_at, base, weights, is_checkpoint) VALUES (?, ?, ?, ?, 0)",
            (row["tuned_name"], now, row["base"], row["resume_weights"]),
        )
        db.execute(
            "INSERT INTO files (id, bytes, created_at, filename, purpose) VALUES (?, ?, ?, ?, 'fine-tune-results')",
            (result_file, result_bytes, now, "step_metrics.csv"),
        )
        add_event(db, job_id, "model", f"New fine-tuned model created: {row['tuned_name']}")
        add_event(db, job_id, "done", "The job has successfully completed")


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


def _fenced_update(db: sqlite3.Connection, job_id: str, attempt: int, assignments: str, *values: object) -> None:
    changed = db.execute(
        f"UPDATE jobs SET {assignments} WHERE id = ? AND attempt = ?"
        " AND status IN ('validating_files', 'queued', 'running')",
        (*values, job_id, attempt),
    ).rowcount
    if not changed:
        raise Fenced(job_id)


def _continue_from(db: sqlite3.Connection, job_id: str, attempt: int, saved: Saved) -> None:
    _fenced_update(
        db,
        job_id,
        attempt,
        "resume_weights = ?, resume_step = ?, resume_tokens = ?",
        saved.weights,
        saved.step,
        saved.tokens,
    )


def _status(db: sqlite3.Connection, job_id: str) -> str:
    return str(db.execute("SELECT status FROM jobs WHERE id = ?", (job_id,)).fetchone()["status"])


def _slug(suffix: str | None) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in (suffix or "").lower())
