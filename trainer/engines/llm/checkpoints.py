"""Reports each step, saves weights with the state to continue from, and puts such a state back."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import PreTrainedTokenizerBase, TrainerCallback

from ..port import Work
from .batches import Batches
from .stepping import SteppingMixin, Sums

_DIVISION = "division.json"
"""How steps are divided into micro-batches: sums of floats depend on it."""
_CHECK_SECONDS = 0.2


class Reporting(TrainerCallback):  # type: ignore[misc]
    """Called by the trainer after each step of the optimizer."""

    def __init__(self, trainer: Any, work: Work, validation: Batches | None) -> None:
        self._trainer, self._work, self._validation = trainer, work, validation
        self._tokens_saved = trainer.tokens
        self._began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure, report, and save where an epoch or enough tokens have passed."""
        step, trainer, recorder = state.global_step, self._trainer, self._trainer.stepping.recorder
        epoch_ends = step % self._work.plan.steps_per_epoch == 0
        figures = trainer.sums.figures("train_loss", "train_mean_token_accuracy")
        figures |= self._measured(step, epoch_ends=epoch_ends)
        self._keep_pace()
        if trainer.is_world_process_zero():
            recorder.step(step, tokens=trainer.tokens, figures=figures)
        if epoch_ends or trainer.tokens - self._tokens_saved >= self._work.snapshot_tokens:
            self._save(step, figures if epoch_ends else None)
            self._tokens_saved = trainer.tokens
        self._began = time.monotonic()

    def _measured(self, step: int, *, epoch_ends: bool) -> dict[str, float]:
        if self._validation is None:
            return {}
        trainer: SteppingMixin = self._trainer
        some = trainer.measure(self._validation.sample(step))
        figures = some.figures("valid_loss", "valid_mean_token_accuracy")
        if epoch_ends:
            full = sum((trainer.measure(rows) for rows in self._validation.all()), Sums())
            figures |= full.figures("full_valid_loss", "full_valid_mean_token_accuracy")
        return figures

    def _keep_pace(self) -> None:
        while (left := self._began + self._work.pace_seconds - time.monotonic()) > 0:
            time.sleep(min(left, _CHECK_SECONDS))
            self._trainer.stepping.recorder.proceed()

    def _save(self, step: int, checkpoint: dict[str, float] | None) -> None:
        trainer = self._trainer
        if not trainer.is_world_process_zero():
            return
        model, state = self._work.scratch / "model", self._work.scratch / "state"
        for folder in (model, state):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        save_weights(trainer.model, trainer.processing_class, model)
        trainer._save_optimizer_and_scheduler(str(state))
        trainer._save_rng_state(str(state))
        trainer.state.save_to_json(str(state / "trainer_state.json"))
        division = {"max_tokens": trainer.stepping.max_tokens, "checkpointing": trainer.stepping.checkpointing}
        (state / _DIVISION).write_text(json.dumps(division))
        trainer.stepping.recorder.save(step, tokens=trainer.tokens, model=model, state=state, checkpoint=checkpoint)


def save_weights(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """An adapter, or full weights with the tokenizer: a whole model in Hugging Face layout."""
    if isinstance(model, PeftModel):
        model.save_pretrained(folder, selected_adapters=["default"])
        (folder / "README.md").unlink(missing_ok=True)
    else:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def restore(trainer: Any, work: Work) -> str | None:
    """The folder from which the trainer resumes: weights and state of an interrupted process, in one place."""
    if work.progress is None:
        return None
    folder = work.scratch / "resumed"
    folder.mkdir()
    for part in ("model", "state"):
        for file in (work.progress.folder / part).iterdir():
            os.symlink(file.absolute(), folder / file.name)
    division = json.loads((folder / _DIVISION).read_text())
    trainer.stepping.max_tokens = division["max_tokens"]
    if division["checkpointing"] and not trainer.stepping.checkpointing:
        trainer.use_checkpointing()
    trainer.tokens = work.progress.tokens
    return str(folder)
