"""Jobs of the trainer's own API, trained on a real Ray whose nodes and processes die."""

import os
import signal

import openai
import pytest

from tests.trainer.conftest import (
    Starter,
    Trainer,
    client_of,
    ended,
    events,
    figures,
    questions,
    upload,
)

from .cluster import TOKEN, Cluster, until

STEPS = 8
EPOCHS = 3


@pytest.fixture(scope="module")
def trained_here(trainer: Trainer) -> list[object]:
    """The figures of a job on this machine, which no interruption on Ray may change."""
    client = client_of(trainer)
    job_id = _create(client)
    ended(client, job_id)
    return figures(client, job_id)


class TestAJobOnRay:
    def test_is_trained_as_on_this_machine_and_answers(
        self, cluster: Cluster, start_trainer: Starter, trained_here: list[object]
    ) -> None:
        client = client_of(_on_ray(start_trainer, cluster))
        job_id = _create(client)
        job = ended(client, job_id)
        assert job.status == "succeeded", events(client, job_id)
        assert figures(client, job_id) == trained_here
        answer = client.chat.completions.create(
            model=job.fine_tuned_model or "", messages=[{"role": "user", "content": "What is the height of the tower?"}]
        )
        assert answer.choices[0].message.content == "The height of the tower is 3 units."


class TestADeath:
    def test_of_the_process_costs_no_step_and_no_second_event(
        self, cluster: Cluster, start_trainer: Starter, trained_here: list[object]
    ) -> None:
        trainer = _on_ray(start_trainer, cluster, pace_seconds=0.3)
        client = client_of(trainer)
        job_id = _create(client)
        os.kill(_pid_after(client, cluster, job_id, STEPS + 2), signal.SIGKILL)
        assert ended(client, job_id).status == "succeeded"
        assert figures(client, job_id) == trained_here
        assert "died (killed by signal 9)" in trainer.log

    def test_of_the_node_continues_the_job_on_the_other_node(
        self, cluster: Cluster, start_trainer: Starter, trained_here: list[object]
    ) -> None:
        trainer = _on_ray(start_trainer, cluster, pace_seconds=0.3)
        client = client_of(trainer)
        job_id = _create(client)
        first = _pid_after(client, cluster, job_id, STEPS + 2)
        node = cluster.node_of(first)
        cluster.kill_node_of(first)
        until(lambda: _is_training(cluster, job_id, other_than=first), seconds=60)
        [second] = cluster.training_pids(TRAINER_JOB=job_id)
        assert cluster.node_of(second) != node
        assert ended(client, job_id).status == "succeeded"
        assert figures(client, job_id) == trained_here
        assert " was lost)" in trainer.log


class TestAServerThatRestarts:
    def test_finds_the_process_that_went_on_without_it(
        self, cluster: Cluster, start_trainer: Starter, trained_here: list[object]
    ) -> None:
        trainer = _on_ray(start_trainer, cluster, pace_seconds=0.3)
        client = client_of(trainer)
        job_id = _create(client)
        pid = _pid_after(client, cluster, job_id, 2)
        trainer.kill()
        trainer.start()
        until(lambda: len(figures(client, job_id)) > STEPS, seconds=60)
        assert cluster.training_pids(TRAINER_JOB=job_id) == [pid]
        assert ended(client, job_id).status == "succeeded"
        assert figures(client, job_id) == trained_here


class TestTheQueue:
    def test_tells_what_a_job_waits_for_and_a_cancel_gives_it_the_gpu(
        self, cluster: Cluster, start_trainer: Starter
    ) -> None:
        """Three slots on a cluster of two GPUs: the third job waits in Ray, the fourth in the trainer."""
        client = client_of(_on_ray(start_trainer, cluster, pace_seconds=60, gpus=3))
        first, second = _create(client), _create(client)
        until(lambda: _is_training(cluster, first) and _is_training(cluster, second), seconds=90)
        third = _create(client)
        until(lambda: "Waiting for a node with free GPUs and CPUs" in _messages(client, third), seconds=90)
        assert _usage(client, third)["gpu_seconds"] <= 3 < _usage(client, first)["gpu_seconds"]
        fourth = _create(client)
        until(lambda: "Waiting for a free slot, at place 1 of the queue" in _messages(client, fourth), seconds=90)
        client.fine_tuning.jobs.cancel(first)
        until(lambda: not _is_training(cluster, first) and _is_training(cluster, third), seconds=90)
        for job_id in (second, third, fourth):
            client.fine_tuning.jobs.cancel(job_id)
        until(lambda: not cluster.training_pids(), seconds=60)


def _on_ray(start_trainer: Starter, cluster: Cluster, *, pace_seconds: float = 0.0, gpus: int = 2) -> Trainer:
    return start_trainer(
        TRAINER_LAUNCHER="ray",
        TRAINER_RAY_ADDRESS=cluster.address,
        TRAINER_RAY_TOKEN=TOKEN,
        TRAINER_GPUS=str(gpus),
        TRAINER_PACE_SECONDS=str(pace_seconds),
    )


def _create(client: openai.OpenAI) -> str:
    return client.fine_tuning.jobs.create(
        model="gpt-4o-mini",
        training_file=upload(client, questions(STEPS)),
        seed=5,
        hyperparameters={"n_epochs": EPOCHS, "batch_size": 1},
    ).id


def _messages(client: openai.OpenAI, job_id: str) -> list[str]:
    return [event.message for event in events(client, job_id)]


def _usage(client: openai.OpenAI, job_id: str) -> dict[str, float]:
    usage: dict[str, float] = client.fine_tuning.jobs.with_raw_response.retrieve(job_id).http_response.json()["usage"]
    return usage


def _pid_after(client: openai.OpenAI, cluster: Cluster, job_id: str, steps: int) -> int:
    """The training process of a job that has taken so many steps."""
    until(lambda: len(figures(client, job_id)) >= steps, seconds=90)
    [pid] = cluster.training_pids(TRAINER_JOB=job_id)
    return pid


def _is_training(cluster: Cluster, job_id: str, *, other_than: int = 0) -> bool:
    pids = cluster.training_pids(TRAINER_JOB=job_id, TRAINER_PHASE="train")
    return bool(set(pids) - {other_than})
