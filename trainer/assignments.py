"""What a training process has to know of its job: its row, as the process reads it."""

import json
import sqlite3
from typing import Any

import msgspec

from .engines.port import Adapter, JobSettings
from .reports import Assignment


def assignment_of(job: sqlite3.Row, *, phase_seconds: float) -> Assignment:
    """The assignment of the attempt that owns a job."""
    return Assignment(
        base=job["base"],
        method=job["method"],
        seed=job["seed"],
        adapter=adapter_of(job),
        training_file=job["training_file"],
        validation_file=job["validation_file"],
        start=job["start_weights"],
        resume=job["resume_weights"],
        resume_step=job["resume_step"],
        resume_tokens=job["resume_tokens"],
        n_epochs=_chosen(job["n_epochs"]),
        batch_size=_chosen(job["batch_size"]),
        rate=_chosen(job["rate"]),
        beta=_chosen(job["beta"]),
        phase_ends_at=job["entered_at"] + phase_seconds,
    )


def adapter_of(job: sqlite3.Row) -> Adapter | None:
    """The adapter that the caller asked for."""
    return None if job["adapter"] is None else msgspec.json.decode(job["adapter"], type=Adapter)


def job_settings(assignment: Assignment) -> JobSettings:
    """The settings as an engine reads them."""
    return JobSettings(
        base=assignment.base,
        method=assignment.method,
        seed=assignment.seed,
        adapter=assignment.adapter,
        continues=assignment.start is not None,
    )


def _chosen(stored: str) -> Any:
    value = json.loads(stored)
    return None if value == "auto" else value
