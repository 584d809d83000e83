"""Cancel, pause, and death in the middle of a training."""

import os
import signal
import sqlite3
import time
from pathlib import Path

import openai

from tests.stack import is_running

from .conftest import Starter, Trainer, client_of, ended, events, figures, questions, until, upload

SLOW = {"TRAINER_PACE_SECONDS": "0.06"}
LONG = 25
"""Epochs that take 12 seconds at that pace: a training is then caught in its first ones, whatever holds us up."""

HELD = {"TRAINER_PACE_SECONDS": "60"}


def _start_job(client: openai.OpenAI, *, n_epochs: int = 3) -> str:
    """Eight steps an epoch."""
    return client.fine_tuning.jobs.create(
        model="gpt-4o-mini", training_file=upload(client, questions(8)), seed=5, hyperparameters={"n_epochs": n_epochs}
    ).id


def _reaches(client: openai.OpenAI, job_id: str, step: int) -> None:
    until(lambda: len(figures(client, job_id)) >= step, seconds=120)


def _settled(client: openai.OpenAI, job_id: str) -> int:
    """The number of steps when they have stopped growing for longer than a step takes."""
    time.sleep(0.6)
    return len(figures(client, job_id))


def _status(client: openai.OpenAI, job_id: str) -> str:
    """Without the SDK's strictness, whose enum has no `paused`."""
    return str(client.fine_tuning.jobs.with_raw_response.retrieve(job_id).http_response.json()["status"])


class TestCancel:
    def test_stops_a_training_at_once_and_says_what_was_trained(self, start_trainer: Starter) -> None:
        client = client_of(start_trainer(**SLOW))
        job_id = _start_job(client, n_epochs=LONG)
        _reaches(client, job_id, 2)
        assert client.fine_tuning.jobs.cancel(job_id).status == "cancelled"
        steps = len(figures(client, job_id))
        assert _settled(client, job_id) == steps < LONG * 8
        job = client.fine_tuning.jobs.retrieve(job_id)
        assert (job.status, job.fine_tuned_model, job.error) == ("cancelled", None, None)
        assert job.trained_tokens is not None
        assert job.trained_tokens > 0
        assert client.fine_tuning.jobs.cancel(job_id).status == "cancelled"
        assert events(client, job_id)[-1].message == "Fine-tuning job cancelled"

    def test_takes_a_waiting_job_out_of_the_queue(self, start_trainer: Starter) -> None:
        client = client_of(start_trainer(TRAINER_MAX_PROCESSES="1", **HELD))
        running = _start_job(client)
        until(lambda: _status(client, running) == "running", seconds=120)
        waiting = _start_job(client)
        until(lambda: _status(client, waiting) == "queued", seconds=120)
        client.fine_tuning.jobs.cancel(waiting)
        job = client.fine_tuning.jobs.retrieve(waiting)
        assert (job.status, job.trained_tokens) == ("cancelled", 0)
        assert _status(client, running) == "running"


class TestPause:
    def test_holds_a_training_and_lets_it_go_on_with_the_same_figures(self, start_trainer: Starter) -> None:
        trainer = start_trainer(**SLOW)
        client = client_of(trainer)
        job_id = _start_job(client, n_epochs=LONG)
        _reaches(client, job_id, 11)
        paused = client.fine_tuning.jobs.with_raw_response.pause(job_id).http_response.json()
        assert paused["status"] == "paused"
        steps = len(figures(client, job_id))
        assert _settled(client, job_id) == steps < LONG * 8
        self._at_full_speed(trainer)
        assert len(figures(client, job_id)) == steps
        untouched = _start_job(client, n_epochs=LONG)
        assert client.fine_tuning.jobs.resume(job_id).status == "queued"
        assert ended(client, job_id).status == ended(client, untouched).status == "succeeded"
        assert figures(client, job_id) == figures(client, untouched)

    def _at_full_speed(self, trainer: Trainer) -> None:
        trainer.stop()
        trainer.env = {}
        trainer.start()


class TestDeath:
    def test_of_the_server_loses_and_repeats_nothing(self, start_trainer: Starter) -> None:
        trainer = start_trainer(TRAINER_SNAPSHOT_TOKENS="60", **SLOW)
        client = client_of(trainer)
        job_id = _start_job(client)
        _reaches(client, job_id, 6)
        assert self._weights(trainer, job_id), "no snapshot inside the first epoch"
        training = trainer.training_process()
        trainer.kill()
        until(lambda: not is_running(training), seconds=60)
        written = _events_written(trainer, job_id)
        time.sleep(0.3)
        assert _events_written(trainer, job_id) == written, "another one trains without its server"
        trainer.start()
        _reaches(client, job_id, 12)
        assert trainer.stop() == 0
        assert "Traceback" not in trainer.log
        trainer.start()
        job, untouched = ended(client, job_id), ended(client, _start_job(client))
        assert job.status == "succeeded"
        assert figures(client, job_id) == figures(client, untouched.id)
        assert [c.step_number for c in client.fine_tuning.jobs.checkpoints.list(job_id)] == [24, 16, 8]
        messages = [e.message for e in events(client, job_id)]
        assert len(messages) == len(set(messages))
        assert self._weights(trainer, job_id) == ["step-16/model", "step-24/model", "step-8/model"]

    def _weights(self, trainer: Trainer, job_id: str) -> list[str]:
        files = [path for path in _weights(trainer, job_id).rglob("*") if path.is_file()]
        return sorted("/".join(path.parts[-3:-1]) for path in files)

    def test_of_a_training_process_is_repaired(self, start_trainer: Starter) -> None:
        trainer = start_trainer(**SLOW)
        client = client_of(trainer)
        job_id = _start_job(client, n_epochs=LONG)
        _reaches(client, job_id, 5)
        os.kill(trainer.training_process(), signal.SIGKILL)
        assert ended(client, job_id).status == "succeeded"
        assert [f["step"] for f in figures(client, job_id)] == list(range(1, LONG * 8 + 1))  # type: ignore[index]

    def test_again_and_again_without_a_step_fails_the_job(self, start_trainer: Starter) -> None:
        trainer = start_trainer(**SLOW)
        client = client_of(trainer)
        job_id = _start_job(client, n_epochs=LONG)
        _reaches(client, job_id, 9)
        os.kill(trainer.training_process(), signal.SIGSTOP)  # so that it writes no good ones meanwhile
        for weights in _weights(trainer, job_id).rglob("*.np*"):
            weights.write_bytes(b"damaged")
        os.kill(trainer.training_process(), signal.SIGKILL)
        job = ended(client, job_id)
        assert job.status == "failed"
        assert job.error is not None
        assert job.error.code == "server_error"


def _weights(trainer: Trainer, job_id: str) -> Path:
    return trainer.data_dir / "store" / "weights" / job_id


def _events_written(trainer: Trainer, job_id: str) -> int:
    with sqlite3.connect(trainer.data_dir / "trainer.db") as db:
        count: int = db.execute("SELECT count(*) FROM events WHERE job_id = ?", (job_id,)).fetchone()[0]
    return count
