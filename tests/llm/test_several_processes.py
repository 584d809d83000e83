"""A job of the trainer's own API in two processes of torchrun, on CPU by gloo; CUDA's NCCL is not tried here."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.conftest import (
    Starter,
    base_weights,
    client_of,
    ended,
    events,
    figures,
    questions,
    start_trainer,
    upload,
)

__all__ = ["base_weights", "start_trainer"]


@pytest.mark.timeout(600)
class TestTwoProcesses:
    def test_learn_what_one_learns_and_only_the_first_reports(self, models_dir: Path, start_trainer: Starter) -> None:
        alone = self._trained(start_trainer, models_dir, gpus=1)
        together = self._trained(start_trainer, models_dir, gpus=2)
        assert [each["step"] for each in together] == list(range(1, 9))
        for one, two in zip(alone, together, strict=True):
            assert two["train_loss"] == pytest.approx(one["train_loss"], abs=1e-3)

    def _trained(self, start_trainer: Starter, models_dir: Path, *, gpus: int) -> list[Any]:
        client = client_of(
            start_trainer(
                TRAINER_ENGINE="transformers",
                TRAINER_MODELS_DIR=str(models_dir),
                TRAINER_GPUS=str(gpus),
                TRAINER_GPUS_PER_JOB=str(gpus),
            )
        )
        job_id = client.fine_tuning.jobs.create(
            model="tiny-llama",
            training_file=upload(client, questions(16)),
            seed=3,
            hyperparameters={"n_epochs": 2, "batch_size": 4},
        ).id
        assert ended(client, job_id, seconds=400).status == "succeeded", events(client, job_id)
        return figures(client, job_id)
