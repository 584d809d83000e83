"""Runs the steps of a job, from its last saved weights to its end.

Everything that the figures depend on is a function of seed, data and step number: the order of an epoch, the sample
of the validation file, and when weights are saved (saving rounds them).
"""

import base64
import json
import sqlite3
import time
from dataclasses import dataclass

import numpy as np

from . import jobs
from .engines.choice import make_engine
from .engines.steps import Exchange, Figures, Learner
from .examples import ExampleFile
from .jobs import Saved
from .orphan import exit_if_orphaned
from .plan import Plan
from .store import Store

SNAPSHOT_PREFIX = "between"
"""Prefix of weights that are saved inside an epoch, only to resume from."""
RESULT_HEADER = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
_FULL_VALIDATION_EXAMPLES = 500
_CHECK_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """One process's work on one job; every write is fenced by `attempt`."""

    store: Store
    job: sqlite3.Row
    attempt: int
    plan: Plan
    training: ExampleFile
    validation: ExampleFile | None
    pace_seconds: float
    snapshot_tokens: int
    parent_pid: int

    def run(self) -> None:
        """Take the remaining steps and end the job. Raises Fenced when this process no longer owns it."""
        learner = self._learner()
        saved = Saved(self.job["resume_weights"] or "", self.job["resume_step"], self.job["resume_tokens"])
        tokens = saved.tokens
        for step in range(saved.step + 1, self.plan.total_steps + 1):
            exit_if_orphaned(self.parent_pid)
            began = time.monotonic()
            batch, batch_tokens = self._batch(step)
            figures = learner.step(batch)
            tokens += batch_tokens
            epoch_ends = step % self.plan.steps_per_epoch == 0
            data = self._data(learner, step, figures, epoch_ends=epoch_ends)
            if step > self.job["step"]:
                self._keep_pace(began)
            self._record(step, tokens, time.monotonic() - began, data)
            if epoch_ends or tokens - saved.tokens >= self.snapshot_tokens:
                saved = self._save(learner, step, tokens, data, epoch_ends=epoch_ends)
        self._finish(saved)

    def _learner(self) -> Learner:
        engine = make_engine(self.store.data_dir)
        engine.prepare()
        start = self.store.weights_path(self.job["start_weights"]) if self.job["start_weights"] else None
        resumed = self.store.weights_path(self.job["resume_weights"]) if self.job["resume_weights"] else None
        return engine.learner(
            resumed or start,
            reference=start,
            fresh_optimizer=resumed is None,
            rate_multiplier=self.plan.rate,
            beta=self.plan.beta if self.job["method"] == "dpo" else None,
        )

    def _batch(self, step: int) -> tuple[list[Exchange], int]:
        epoch, place = divmod(step - 1, self.plan.steps_per_epoch)
        order = np.random.default_rng([self.job["seed"], epoch]).permutation(len(self.training))
        first = place * self.plan.batch_size
        examples = [self.training[int(i)] for i in order[first : first + self.plan.batch_size]]
        return [e for example in examples for e in example.exchanges], sum(example.tokens for example in examples)

    def _data(self, learner: Learner, step: int, figures: Figures, *, epoch_ends: bool) -> dict[str, float | int]:
        data: dict[str, float | int] = {
            "step": step,
            "total_steps": self.plan.total_steps,
            "train_loss": figures.loss,
            "train_mean_token_accuracy": figures.accuracy,
        }
        if self.validation is not None:
            count = min(len(self.validation), self.plan.batch_size)
            some = self._measure(learner, self.validation, count, step)
            data |= {"valid_loss": some.loss, "valid_mean_token_accuracy": some.accuracy}
            if epoch_ends:
                count = min(len(self.validation), _FULL_VALIDATION_EXAMPLES)
                full = self._measure(learner, self.validation, count, 0)
                data |= {"full_valid_loss": full.loss, "full_valid_mean_token_accuracy": full.accuracy}
        return data

    def _measure(self, learner: Learner, examples: ExampleFile, count: int, salt: int) -> Figures:
        chosen = np.random.default_rng([self.job["seed"], salt, 1]).permutation(len(examples))[:count]
        return learner.measure([e for i in chosen for e in examples[int(i)].exchanges])

    def _keep_pace(self, began: float) -> None:
        while (left := began + self.pace_seconds - time.monotonic()) > 0:
            time.sleep(min(left, _CHECK_SECONDS))
            exit_if_orphaned(self.parent_pid)
            jobs.check_not_fenced(self.store, self.job["id"], self.attempt)

    def _record(self, step: int, tokens: int, seconds: float, data: dict[str, float | int]) -> None:
        message = f"Step {step}/{self.plan.total_steps}: training loss={data['train_loss']:.2f}"
        for name, label in (("valid_loss", "validation loss"), ("full_valid_loss", "full validation loss")):
            if name in data:
                message += f", {label}={data[name]:.2f}"
        jobs.record_step(
            self.store,
            self.job["id"],
            self.attempt,
            step=step,
            tokens=tokens,
            seconds=seconds,
            message=message,
            data=data,
        )

    def _save(
        self, learner: Learner, step: int, tokens: int, data: dict[str, float | int], *, epoch_ends: bool
    ) -> Saved:
        kind = "step" if epoch_ends else SNAPSHOT_PREFIX
        saved = Saved(f"{self.job['id']}/{kind}-{step}.npz", step, tokens)
        path = self.store.weights_path(saved.weights)
        learner.save(path)
        if epoch_ends:
            metrics = {name: value for name, value in data.items() if name != "total_steps"}
            jobs.record_checkpoint(self.store, self.job["id"], self.attempt, saved, metrics)
        else:
            jobs.record_snapshot(self.store, self.job["id"], self.attempt, saved)
        for older in path.parent.glob(f"{SNAPSHOT_PREFIX}-*"):
            if older != path:
                older.unlink(missing_ok=True)
        return saved

    def _finish(self, saved: Saved) -> None:
        rows = self.store.rows(
            "SELECT data FROM events WHERE job_id = ? AND data IS NOT NULL ORDER BY seq", self.job["id"]
        )
        content = base64.b64encode(result_csv([json.loads(row["data"]) for row in rows]).encode())
        file_id = self.job["id"].replace("ftjob-", "file-")
        path = self.store.file_path(file_id)
        partial = path.with_suffix(f".{self.attempt}.part")
        partial.write_bytes(content)
        partial.replace(path)
        jobs.succeed(
            self.store,
            self.job["id"],
            self.attempt,
            weights=saved.weights,
            result_file=file_id,
            result_bytes=len(content),
        )


def result_csv(steps: list[dict[str, float]]) -> str:
    """The result file before base64: one line a step, five decimals, empty where nothing was measured."""
    names = ("train_loss", "train_mean_token_accuracy", "valid_loss", "valid_mean_token_accuracy")
    lines = [
        ",".join([str(int(data["step"])), *(f"{data[name]:.5f}" if name in data else "" for name in names)])
        for data in steps
    ]
    return "\n".join([RESULT_HEADER, *lines]) + "\n"
