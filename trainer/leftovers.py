"""Removes what nothing needs any more: weights between checkpoints, states of ended jobs, files without a row."""

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .jobs import ENDED
from .storage import Storage
from .store import Store

_WEIGHTS = re.compile(r"(weights/([^/]+)/(\d+)/step-(\d+))/(model|state)/")
"""A prefix of weights, with its job, attempt and step."""


def sweep(store: Store, storage: Storage) -> None:
    """When the server starts: remove expired files, and all that a killed server or process left behind."""
    storage.remove_unfinished()
    with store.write() as db:
        db.execute(
            "DELETE FROM files WHERE expires_at < ? AND id NOT IN (SELECT f FROM (SELECT training_file AS f FROM jobs"
            " WHERE finished_at IS NULL UNION SELECT validation_file FROM jobs WHERE finished_at IS NULL)"
            " WHERE f IS NOT NULL)",
            (int(time.time()),),
        )
    known = {f"files/{row['id']}" for row in store.rows("SELECT id FROM files")}
    storage.delete(*(key for key in storage.keys("files/") if key not in known))
    storage.delete(*_leftovers(store, storage.keys("weights/")))


def remove_leftovers(store: Store, storage: Storage, job_id: str) -> None:
    """Remove a job's weights from which nothing continues and with which no model answers."""
    storage.delete(*_leftovers(store, storage.keys(f"weights/{job_id}/")))


@dataclass(frozen=True, slots=True)
class _Needed:
    """What a job needs: `whole` prefixes, those of `models`, and what its attempt has saved since `step`."""

    whole: frozenset[str]
    models: frozenset[str]
    attempt: int | None
    step: int


def _leftovers(store: Store, keys: Iterable[str]) -> Iterator[str]:
    jobs: dict[str, _Needed] = {}
    for key in keys:
        parts = _WEIGHTS.match(key)
        if parts is None:
            continue
        prefix, job_id, attempt, step, kind = parts.groups()
        if job_id not in jobs:
            jobs[job_id] = _needed(store, job_id)
        needed = jobs[job_id]
        being_saved = int(attempt) == needed.attempt and int(step) > needed.step
        if not (being_saved or prefix in needed.whole or (kind == "model" and prefix in needed.models)):
            yield key


def _needed(store: Store, job_id: str) -> _Needed:
    job = store.row("SELECT status, attempt, resume_weights, resume_step FROM jobs WHERE id = ?", job_id)
    live = job is not None and job["status"] not in ENDED
    models = store.rows(
        "SELECT weights FROM models WHERE weights LIKE ?1 UNION SELECT start_weights FROM jobs"
        " WHERE start_weights LIKE ?1 AND status NOT IN ('succeeded', 'failed', 'cancelled')",
        f"weights/{job_id}/%",
    )
    return _Needed(
        whole=frozenset({job["resume_weights"]} if job is not None and live else ()),
        models=frozenset(row[0] for row in models),
        attempt=job["attempt"] if job is not None and live else None,
        step=job["resume_step"] if job is not None else 0,
    )
