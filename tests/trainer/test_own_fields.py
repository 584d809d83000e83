"""The trainer's own fields beside OpenAI's: adapters, usage, places, and what is known of a base model."""

import openai
import pytest

from .conftest import Trainer, ask, client_of, ended, questions, upload


class TestAdapter:
    @pytest.mark.parametrize(
        ("adapter", "param"),
        [
            ({"rank": 4}, "adapter"),
            ({"rank": 0}, "adapter.rank"),
            ({"rank": 1_025}, "adapter.rank"),
            ({"alpha": 0}, "adapter.alpha"),
            ({"dropout": 1}, "adapter.dropout"),
            ({"targets": []}, "adapter.targets"),
            ({"targets": "some"}, "adapter.targets"),
            ({"type": "other"}, "adapter.type"),
            ({"type": "full", "rank": 4}, "adapter.rank"),
            ({"colour": 1}, "adapter"),
        ],
    )
    def test_is_refused_before_the_job_is_accepted(
        self, client: openai.OpenAI, adapter: dict[str, object], param: str
    ) -> None:
        training = upload(client, questions(3))
        with pytest.raises(openai.BadRequestError) as refused:
            client.fine_tuning.jobs.create(model="tiny-1", training_file=training, extra_body={"adapter": adapter})
        assert refused.value.param == param
        assert [job for job in client.fine_tuning.jobs.list(limit=100) if job.training_file == training] == []

    def test_without_one_is_null(self, client: openai.OpenAI) -> None:
        job = client.fine_tuning.jobs.create(model="tiny-1", training_file=upload(client, questions(3)))
        assert job.model_extra is not None
        assert job.model_extra["adapter"] is None


def test_usage_says_what_a_job_took(client: openai.OpenAI) -> None:
    job = client.fine_tuning.jobs.create(
        model="tiny-1", training_file=upload(client, questions(3)), hyperparameters={"n_epochs": 1}
    )
    job = ended(client, job.id)
    assert job.model_extra is not None
    usage = job.model_extra["usage"]
    assert usage["trained_tokens"] == job.trained_tokens
    assert usage["process_seconds"] > 0
    assert usage["gpu_seconds"] == 0
    assert job.model_extra["queue_place"] is None


def test_a_base_model_says_what_is_known_of_it(trainer: Trainer) -> None:
    _, own = ask(trainer, "GET", "/v1/models/tiny-1")
    assert own["methods"] == ["supervised", "dpo"]
    assert own["stands_in"] is False
    _, models = ask(trainer, "GET", "/v1/models")
    assert all(model["stands_in"] for model in models["data"] if model["id"].startswith("gpt-"))
    with client_of(trainer) as client:
        assert client.models.retrieve("tiny-1").owned_by == "trainer"
