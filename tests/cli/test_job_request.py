"""What is typed becomes the body of a request."""

from typing import Any

import pytest

from cli.arguments.train import JobOptions, TrainingOptions
from cli.errors import Refused
from cli.jobs.request import changes, quote_body, request_of, with_job, with_training

JOB = {
    "id": "ftjob-1",
    "model": "m",
    "training_file": "file-1",
    "validation_file": None,
    "suffix": "s",
    "seed": 7,
    "metadata": {"team": "maps"},
    "integrations": None,
    "adapter": {"type": "lora", "rank": 8, "alpha": None, "dropout": None, "targets": None},
    "method": {
        "type": "supervised",
        "supervised": {
            "hyperparameters": {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": "auto"},
        },
    },
}
NO_BUDGET: dict[str, Any] = {"cost": {"budget": None}}


class TestTraining:
    def test_what_is_not_given_is_not_sent(self) -> None:
        assert with_job(with_training({}, TrainingOptions(model="m")), JobOptions()) == {"model": "m"}

    def test_hyperparameters_are_those_of_the_method(self) -> None:
        options = TrainingOptions(model="m", method="dpo", epochs=2, beta=0.2, learning_rate_multiplier="auto")
        assert with_training({}, options)["method"] == {
            "type": "dpo",
            "dpo": {"hyperparameters": {"n_epochs": 2, "learning_rate_multiplier": "auto", "beta": 0.2}},
        }
        with pytest.raises(Refused, match="--method dpo"):
            with_training({}, TrainingOptions(beta=0.2))

    def test_adapters_are_lora_unless_it_is_said(self) -> None:
        options = TrainingOptions(adapter_rank=16, adapter_targets=("q_proj", "v_proj"))
        assert with_training({}, options)["adapter"] == {"type": "lora", "rank": 16, "targets": ["q_proj", "v_proj"]}
        assert with_training(JOB, TrainingOptions(adapter_alpha=2.0))["adapter"] == {
            "type": "lora", "rank": 8, "alpha": 2.0,
        }  # fmt: skip
        assert with_training(JOB, TrainingOptions(adapter="full"))["adapter"] == {"type": "full"}

    def test_a_job_has_more_than_its_quote(self) -> None:
        options = JobOptions(seed=0, deploy="a", upstream="up_1", priority=3, metadata=("k=v=w",))
        body = with_job(with_training({"training_file": "file-1"}, TrainingOptions(model="m", budget=2.0)), options)
        assert body["deploy"] == {"alias": "a"}
        assert (body["seed"], body["upstream_account"], body["priority"]) == (0, "up_1", 3)
        assert body["metadata"] == {"k": "v=w"}
        assert quote_body(body) == {"model": "m", "training_file": "file-1", "budget": 2.0}


class TestClone:
    def test_it_is_the_same_request(self) -> None:
        before = request_of(JOB, NO_BUDGET)
        assert before["adapter"] == {"type": "lora", "rank": 8}
        assert before["method"] == JOB["method"]
        assert {"id", "validation_file", "integrations", "budget", "deploy"}.isdisjoint(before)
        assert changes(before, with_job(with_training(before, TrainingOptions()), JobOptions())) == []

    def test_a_budget_and_integrations_are_taken_over(self) -> None:
        wandb = [{"type": "wandb", "wandb": {"project": "p"}}]
        before = request_of(JOB | {"integrations": wandb}, {"cost": {"budget": {"value": 1.5, "currency": "usd"}}})
        assert (before["budget"], before["integrations"]) == (1.5, wandb)

    def test_changes_are_named_and_the_rest_stays(self) -> None:
        before = request_of(JOB, NO_BUDGET)
        training = TrainingOptions(model="n", epochs=1, adapter_rank=4)
        after = with_job(with_training(before, training), JobOptions(metadata=("team=roads",)))
        assert after["method"]["supervised"]["hyperparameters"]["batch_size"] == "auto"
        assert changes(before, after) == [
            ("model", "m", "n"),
            ("n_epochs", "3", "1"),
            ("adapter.rank", "8", "4"),
            ("metadata.team", "maps", "roads"),
        ]

    def test_another_method_has_none_of_the_old_hyperparameters(self) -> None:
        after = with_training(request_of(JOB, NO_BUDGET), TrainingOptions(method="dpo"))
        assert after["method"] == {"type": "dpo", "dpo": {"hyperparameters": {}}}

    def test_a_grader_stays(self) -> None:
        method = {"type": "reinforcement", "reinforcement": {"grader": {"type": "x"}, "hyperparameters": {}}}
        after = with_training({"method": method}, TrainingOptions(epochs=2))
        assert after["method"]["reinforcement"] == {"grader": {"type": "x"}, "hyperparameters": {"n_epochs": 2}}
