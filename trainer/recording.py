"""Turns a training process's reports into rows. Every change is fenced: a process that lost its job changes nothing."""

import base64
import json
import sqlite3
import time
from collections.abc import Sequence
from typing import Any, assert_never

from .engines.port import DataFacts, Fenced
from .ids import new_id
from .jobs import add_event
from .leftovers import remove_leftovers
from .plan import resolve
from .reports import Failed, Message, Report, Saved, Step, Succeeded, Validated
from .result_file import result_csv
from .storage import Storage
from .store import Store

_LIVE = "('validating_files', 'queued', 'running')"


class BadReport(ValueError):
    """A report that no training process of this version sends."""


def record(
    store: Store, storage: Storage, job_id: str, attempt: int, reports: Sequence[Report], *, publishes: bool = False
) -> None:
    """Record reports in their order, all or none; a report that was recorded before changes nothing.

    With `publishes`, a job whose training has ended is `publishing` until `succeed` or `fail_publishing`. Raises Fenced
    and BadReport.
    """
    ends = bool(reports) and isinstance(reports[-1], Succeeded)
    with store.write() as db:
        check_owner(db, job_id, attempt)
        for report in reports[:-1] if ends else reports:
            _record(db, job_id, attempt, report)
    if ends:
        _end_training(store, storage, job_id, attempt, publishes=publishes)
    if any(isinstance(report, Saved | Failed | Succeeded) for report in reports):
        remove_leftovers(store, storage, job_id)


def fail(store: Store, job_id: str, attempt: int, failed: Failed) -> None:
    """End a job with the reason. Raises Fenced."""
    with store.write() as db:
        _record(db, job_id, attempt, failed)


def succeed(store: Store, job_id: str) -> None:
    """End a job that is `publishing`, whose model answers. Does nothing when it was cancelled since."""
    with store.write() as db:
        _succeed(db, job_id)


def fail_publishing(store: Store, job_id: str, reason: str, *, wait_seconds: float) -> None:
    """End a job whose model did not answer in time. Its last checkpoint is the same model."""
    message = (
        f"The training ended, and then its model did not answer within {wait_seconds:.0f} seconds. {reason} "
        "The last checkpoint is the same model and can be used once this is put right."
    )
    error = json.dumps({"code": "model_not_served", "message": message, "param": None})
    with store.write() as db:
        failed = db.execute(
            "UPDATE jobs SET status = 'failed', finished_at = ?, error = ? WHERE id = ? AND status = 'publishing'",
            (int(time.time()), error, job_id),
        ).rowcount
        if failed:
            add_event(db, job_id, "failed", f"Fine-tuning job failed: {message}", level="error")


def check_owner(db: sqlite3.Connection, job_id: str, attempt: int) -> sqlite3.Row:
    """The job's row; Fenced when another attempt owns it or nobody works on it."""
    row: sqlite3.Row | None = db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None or row["attempt"] != attempt or row["status"] not in ("validating_files", "running"):
        raise Fenced(job_id)
    return row


def _record(db: sqlite3.Connection, job_id: str, attempt: int, report: Report) -> None:
    match report:
        case Step():
            _step(db, job_id, attempt, report)
        case Message():
            add_event(db, job_id, f"message:{report.key}", report.text, level=report.level)
        case Saved():
            _saved(db, job_id, attempt, report)
        case Validated():
            _validated(db, job_id, attempt, report)
        case Failed():
            error = json.dumps({"code": report.code, "message": report.message, "param": report.param})
            ended = "status = 'failed', finished_at = ?, error = ?"
            _fenced_update(db, job_id, attempt, ended, int(time.time()), error)
            add_event(db, job_id, "failed", f"Fine-tuning job failed: {report.message}", level="error")
        case Succeeded():
            raise BadReport("the report of success must be the last one of a request")
        case _:
            assert_never(report)


def _step(db: sqlite3.Connection, job_id: str, attempt: int, step: Step) -> None:
    _fenced_update(
        db,
        job_id,
        attempt,
        "crashes = CASE WHEN step < ? THEN 0 ELSE crashes END, trained_tokens = max(trained_tokens, ?),"
        " step = max(step, ?), step_seconds = ?",
        step.step,
        step.tokens,
        step.step,
        step.seconds,
    )
    message = f"Step {step.step}/{step.total_steps}: training loss={_show(step.figures.get('train_loss'))}"
    for name, label in (("valid_loss", "validation loss"), ("full_valid_loss", "full validation loss")):
        if name in step.figures:
            message += f", {label}={_show(step.figures[name])}"
    data = {"step": step.step, "total_steps": step.total_steps, **step.figures}
    add_event(db, job_id, f"step:{step.step}", message, data=data)


def _saved(db: sqlite3.Connection, job_id: str, attempt: int, saved: Saved) -> None:
    if saved.weights != f"weights/{job_id}/{attempt}/step-{saved.step}":
        raise BadReport(f"{saved.weights} is not where this attempt saves step {saved.step}")
    resume = "resume_weights = ?, resume_step = ?, resume_tokens = ?"
    _fenced_update(db, job_id, attempt, resume, saved.weights, saved.step, saved.tokens)
    if saved.checkpoint is None:
        return
    row = db.execute("SELECT tuned_name, base FROM jobs WHERE id = ?", (job_id,)).fetchone()
    name, now = f"{row['tuned_name']}:ckpt-step-{saved.step}", int(time.time())
    metrics = json.dumps({"step": saved.step, **saved.checkpoint})
    db.execute(
        "INSERT OR IGNORE INTO checkpoints (id, job_id, step, created_at, name, metrics) VALUES (?, ?, ?, ?, ?, ?)",
        (new_id("ftckpt-"), job_id, saved.step, now, name, metrics),
    )
    db.execute(
        "INSERT OR IGNORE INTO models (id, created_at, base, weights, is_checkpoint) VALUES (?, ?, ?, ?, 1)",
        (name, now, row["base"], saved.weights),
    )
    add_event(db, job_id, f"checkpoint:{saved.step}", f"Checkpoint created at step {saved.step}")


def _validated(db: sqlite3.Connection, job_id: str, attempt: int, validated: Validated) -> None:
    job = check_owner(db, job_id, attempt)
    given = {name: json.loads(job[name]) for name in ("n_epochs", "batch_size", "rate", "beta")}
    chosen = {name: None if value == "auto" else value for name, value in given.items()}
    plan = resolve(examples=validated.examples, **chosen)
    _fenced_update(
        db,
        job_id,
        attempt,
        "validated = 1, status = 'queued', entered_at = ?, n_epochs = ?, batch_size = ?, rate = ?, beta = ?,"
        " total_steps = ?",
        time.time(),
        *(json.dumps(value) for value in (plan.n_epochs, plan.batch_size, plan.rate, plan.beta)),
        plan.total_steps,
    )
    _warn_of_truncation(db, job_id, "training_file", validated.training)
    _warn_of_truncation(db, job_id, "validation_file", validated.validation)
    add_event(db, job_id, "validated", "Files validated, moving job to queued state")


def _warn_of_truncation(db: sqlite3.Connection, job_id: str, param: str, facts: DataFacts | None) -> None:
    if facts is None or not facts.truncated_rows:
        return
    name = param.replace("_", " ")
    text = f"{facts.truncated_rows:,} rows of the {name} are longer than the model's context and are truncated"
    add_event(db, job_id, f"truncated:{param}", text, level="warn")


def _end_training(store: Store, storage: Storage, job_id: str, attempt: int, *, publishes: bool) -> None:
    rows = store.rows("SELECT data FROM events WHERE job_id = ? AND kind LIKE 'step:%' ORDER BY seq", job_id)
    content = base64.b64encode(result_csv([json.loads(row["data"]) for row in rows]).encode())
    file_id = job_id.replace("ftjob-", "file-")
    storage.put(f"files/{file_id}", content)
    now = time.time()
    with store.write() as db:
        trained = "status = 'publishing', entered_at = ?, result_file = ?"
        _fenced_update(db, job_id, attempt, trained, now, file_id)
        db.execute(
            "INSERT INTO files (id, bytes, created_at, filename, purpose) VALUES (?, ?, ?, ?, 'fine-tune-results')",
            (file_id, len(content), int(now), "step_metrics.csv"),
        )
        if not publishes:
            _succeed(db, job_id)


def _succeed(db: sqlite3.Connection, job_id: str) -> None:
    now = int(time.time())
    row = db.execute(
        "UPDATE jobs SET status = 'succeeded', finished_at = ?, fine_tuned_model = tuned_name WHERE id = ?"
        " AND status = 'publishing' RETURNING tuned_name, base, resume_weights",
        (now, job_id),
    ).fetchone()
    if row is None:
        return
    db.execute(
        "INSERT INTO models (id, created_at, base, weights, is_checkpoint) VALUES (?, ?, ?, ?, 0)",
        (row["tuned_name"], now, row["base"], row["resume_weights"]),
    )
    add_event(db, job_id, "model", f"New fine-tuned model created: {row['tuned_name']}")
    add_event(db, job_id, "done", "The job has successfully completed")


def _fenced_update(db: sqlite3.Connection, job_id: str, attempt: int, assignments: str, *values: Any) -> None:
    changed = db.execute(
        f"UPDATE jobs SET {assignments} WHERE id = ? AND attempt = ? AND status IN {_LIVE}", (*values, job_id, attempt)
    ).rowcount
    if not changed:
        raise Fenced(job_id)


def _show(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.2f}"
