"""Runs the steps of a job, from its last saved weights to its end.

Everything that the figures depend on is a function of seed, data and step number: the order of an epoch, the sample
of the validation file, and when weights are saved (saving rounds them).
"""

import time
from pathlib import Path

import numpy as np

from ..port import Recorder, Rows, Work
from .exchanges import Exchange, count_row, exchanges_of
from .learn import RATE, ByteLearner, Figures, Floats, Preference
from .weights import Delta, Table, apply, read, write

MODEL_FILE = "difference.npz"
"""In a folder of weights: the difference to the base."""
_STATE_FILE = "energy.npy"
_FULL_VALIDATION_EXAMPLES = 500
_CHECK_SECONDS = 0.2


class Training:
    """One process's work on one job, with `base` as the base weights."""

    def __init__(self, work: Work, recorder: Recorder, base: Table) -> None:
        self._work, self._recorder = work, recorder
        self._plan, self._seed = work.plan, work.settings.seed
        self._learner = _learner(work, base)

    def run(self) -> None:
        """Take the remaining steps. Raises Fenced when this process no longer owns its job."""
        progress = self._work.progress
        first, tokens = (progress.step + 1, progress.tokens) if progress is not None else (1, 0)
        tokens_saved = tokens
        for step in range(first, self._plan.total_steps + 1):
            self._recorder.proceed()
            began = time.monotonic()
            batch, batch_tokens = self._batch(step)
            figures = self._learner.step(batch)
            tokens += batch_tokens
            epoch_ends = step % self._plan.steps_per_epoch == 0
            measured = self._measured(step, figures, epoch_ends=epoch_ends)
            self._keep_pace(began)
            self._recorder.step(step, tokens=tokens, figures=measured)
            if epoch_ends or tokens - tokens_saved >= self._work.snapshot_tokens:
                self._save(step, tokens, measured if epoch_ends else None)
                tokens_saved = tokens

    def _batch(self, step: int) -> tuple[list[Exchange], int]:
        epoch, place = divmod(step - 1, self._plan.steps_per_epoch)
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._work.training))
        first = place * self._plan.batch_size
        rows = [self._work.training[int(i)] for i in order[first : first + self._plan.batch_size]]
        return [e for row in rows for e in exchanges_of(row)], sum(count_row(row) for row in rows)

    def _measured(self, step: int, figures: Figures, *, epoch_ends: bool) -> dict[str, float]:
        measured = {"train_loss": figures.loss, "train_mean_token_accuracy": figures.accuracy}
        validation = self._work.validation
        if validation is not None:
            some = self._measure(validation, min(len(validation), self._plan.batch_size), step)
            measured |= {"valid_loss": some.loss, "valid_mean_token_accuracy": some.accuracy}
            if epoch_ends:
                full = self._measure(validation, min(len(validation), _FULL_VALIDATION_EXAMPLES), 0)
                measured |= {"full_valid_loss": full.loss, "full_valid_mean_token_accuracy": full.accuracy}
        return measured

    def _measure(self, rows: Rows, count: int, salt: int) -> Figures:
        chosen = np.random.default_rng([self._seed, salt, 1]).permutation(len(rows))[:count]
        return self._learner.measure([e for i in chosen for e in exchanges_of(rows[int(i)])])

    def _keep_pace(self, began: float) -> None:
        while (left := began + self._work.pace_seconds - time.monotonic()) > 0:
            time.sleep(min(left, _CHECK_SECONDS))
            self._recorder.proceed()

    def _save(self, step: int, tokens: int, checkpoint: dict[str, float] | None) -> None:
        model, state = self._work.scratch / "model", self._work.scratch / "state"
        delta, energy = self._learner.save()
        write(model / MODEL_FILE, delta)
        state.mkdir(exist_ok=True)
        np.save(state / _STATE_FILE, energy, allow_pickle=False)
        self._recorder.save(step, tokens=tokens, model=model, state=state, checkpoint=checkpoint)


def _learner(work: Work, base: Table) -> ByteLearner:
    started = read(work.start / MODEL_FILE) if work.start is not None else None
    preference = None
    if work.settings.method == "dpo":
        preference = Preference(work.plan.beta, base if started is None else apply(base, started))
    delta, energy = (started, None) if work.progress is None else _interrupted(work.progress.folder)
    return ByteLearner(base, delta, energy=energy, rate=RATE * work.plan.rate, preference=preference)


def _interrupted(folder: Path) -> tuple[Delta, Floats]:
    energy: Floats = np.load(folder / "state" / _STATE_FILE, allow_pickle=False)
    return read(folder / "model" / MODEL_FILE), energy
