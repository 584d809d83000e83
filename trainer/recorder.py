"""Where a training process reports to: rows in the store and folders of weights beside it."""

import base64
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from . import jobs
from .jobs import Saved
from .orphan import exit_if_orphaned
from .plan import Plan
from .store import Store

SNAPSHOT_PREFIX = "between"
"""Prefix of weights that are saved inside an epoch, only to resume from."""
RESULT_HEADER = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"


class StoreRecorder:
    """See `trainer.engines.port.Recorder`; every write is fenced by `attempt`."""

    def __init__(self, store: Store, job: sqlite3.Row, attempt: int, plan: Plan, *, parent_pid: int) -> None:
        self._store, self._job_id, self._attempt = store, str(job["id"]), attempt
        self._plan, self._parent_pid = plan, parent_pid
        self._began = time.monotonic()

    def step(self, step: int, *, tokens: int, figures: Mapping[str, float]) -> None:
        message = f"Step {step}/{self._plan.total_steps}: training loss={figures['train_loss']:.2f}"
        for name, label in (("valid_loss", "validation loss"), ("full_valid_loss", "full validation loss")):
            if name in figures:
                message += f", {label}={figures[name]:.2f}"
        now = time.monotonic()
        jobs.record_step(
            self._store,
            self._job_id,
            self._attempt,
            step=step,
            tokens=tokens,
            seconds=now - self._began,
            message=message,
            data={"step": step, "total_steps": self._plan.total_steps, **figures},
        )
        self._began = now

    def save(
        self, step: int, *, tokens: int, model: Path, state: Path | None, checkpoint: Mapping[str, float] | None
    ) -> None:
        kind = "step" if checkpoint is not None else SNAPSHOT_PREFIX
        saved = Saved(f"{self._job_id}/{kind}-{step}", step, tokens)
        path = self._store.weights_path(saved.weights)
        partial = path.with_name(f"{path.name}.{os.getpid()}.part")
        shutil.copytree(model, partial / "model")
        if state is not None:
            shutil.copytree(state, partial / "state")
        shutil.rmtree(path, ignore_errors=True)
        partial.replace(path)
        if checkpoint is None:
            jobs.record_snapshot(self._store, self._job_id, self._attempt, saved)
        else:
            jobs.record_checkpoint(self._store, self._job_id, self._attempt, saved, {"step": step, **checkpoint})
        for older in path.parent.iterdir():
            if older != path:
                shutil.rmtree(older if older.name.startswith(SNAPSHOT_PREFIX) else older / "state", ignore_errors=True)

    def proceed(self) -> None:
        exit_if_orphaned(self._parent_pid)
        jobs.check_not_fenced(self._store, self._job_id, self._attempt)

    def message(self, key: str, text: str, *, level: Literal["info", "warn"] = "info") -> None:
        with self._store.write() as db:
            jobs.add_event(db, self._job_id, key, text, level=level)

    def finish(self) -> None:
        """End the job: its last checkpoint becomes the model."""
        rows = self._store.rows(
            "SELECT data FROM events WHERE job_id = ? AND data IS NOT NULL ORDER BY seq", self._job_id
        )
        content = base64.b64encode(result_csv([json.loads(row["data"]) for row in rows]).encode())
        file_id = self._job_id.replace("ftjob-", "file-")
        path = self._store.file_path(file_id)
        partial = path.with_suffix(f".{self._attempt}.part")
        partial.write_bytes(content)
        partial.replace(path)
        jobs.succeed(self._store, self._job_id, self._attempt, result_file=file_id, result_bytes=len(content))


def result_csv(steps: list[dict[str, float]]) -> str:
    """The result file before base64: one line a step, five decimals, empty where nothing was measured."""
    names = ("train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy")
    lines = [
        ",".join([str(int(data["step"])), *(f"{data[name]:.5f}" if name in data else "" for name in names)])
        for data in steps
    ]
    return "\n".join([RESULT_HEADER, *lines]) + "\n"
