"""Training on from a tuned model and from a checkpoint, with the official SDK and the default trainer."""

import openai
import pytest
from openai.types import Model
from openai.types.fine_tuning import FineTuningJob

from tests.contract.conftest import Trained
from tests.contract.strict import strictly
from tests.wire import Tenant, chat_rows, checked, ended, jsonl, upload


@pytest.fixture(scope="module")
def following(trained: Trained) -> tuple[str, str]:
    """Two jobs of one epoch on the same questions: from the tuned model, and from its first checkpoint."""
    checkpoints = trained.tenant.sdk().fine_tuning.jobs.checkpoints.list(trained.job_id).data
    first = min(checkpoints, key=lambda each: each.step_number)
    return (
        _trained_on(trained.tenant, trained.training_file, trained.model),
        _trained_on(trained.tenant, trained.training_file, first.fine_tuned_model_checkpoint),
    )


def _trained_on(tenant: Tenant, training_file: str, model: str) -> str:
    sdk = tenant.sdk()
    answer = sdk.fine_tuning.jobs.with_raw_response.create(
        model=model,
        training_file=training_file,
        seed=7,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
    )
    job = strictly(FineTuningJob, answer)
    assert job.model == model
    with tenant.http() as client:
        done = ended(client, job.id)
    assert done["status"] == "succeeded", done
    return job.id


def _first_loss(tenant: Tenant, job_id: str) -> float:
    with tenant.http() as client:
        rows = client.get(f"/fine_tuning/jobs/{job_id}/metrics").json()["data"]
    loss: float = rows[0]["train_loss"]
    return loss


def test_it_goes_on_where_the_earlier_one_was(trained: Trained, following: tuple[str, str]) -> None:
    """The more it has learnt, the smaller the loss of the first step: base, checkpoint, tuned model."""
    tenant = trained.tenant
    fresh, (tuned, checkpoint) = trained.job_id, following
    assert _first_loss(tenant, tuned) < _first_loss(tenant, checkpoint) < _first_loss(tenant, fresh)


def test_names_prices_and_rules_are_those_of_the_base_model(trained: Trained, following: tuple[str, str]) -> None:
    sdk = trained.tenant.sdk()
    for job_id in following:
        job = sdk.fine_tuning.jobs.retrieve(job_id)
        assert job.fine_tuned_model is not None
        assert job.fine_tuned_model.startswith("ft:gpt-4o-mini-2024-07-18:tunegate:")
        assert job.fine_tuned_model.endswith(job_id[-12:])
        assert (
            sdk.chat.completions.create(
                model=job.fine_tuned_model, messages=[{"role": "user", "content": "How long is river 3?"}]
            )
            .choices[0]
            .message.content
        )
    with trained.tenant.http() as client:
        quotes = [
            client.post("/fine_tuning/quotes", json={"model": model, "training_file": trained.training_file}).json()
            for model in (trained.model, "gpt-4o-mini-2024-07-18")
        ]
        assert quotes[0]["price"] == quotes[1]["price"]
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.fine_tuning.jobs.create(
            model=trained.model,
            training_file=trained.training_file,
            method={"type": "reinforcement", "reinforcement": {"grader": {"type": "string_check"}}},  # type: ignore[arg-type]
        )
    assert refused.value.code == "unsupported_method"


def test_the_parent_is_shown(trained: Trained, following: tuple[str, str]) -> None:
    sdk = trained.tenant.sdk()
    jobs = [sdk.fine_tuning.jobs.retrieve(job_id) for job_id in following]
    listed = {model.id: model.to_dict() for model in sdk.models.list()}
    for job in jobs:
        shown = strictly(Model, sdk.models.with_raw_response.retrieve(job.fine_tuned_model or "")).to_dict()
        assert shown == listed[job.fine_tuned_model or ""]
        assert (shown["root"], shown["parent"]) == ("gpt-4o-mini-2024-07-18", job.model)
    assert jobs[1].model.startswith(f"{trained.model}:ckpt-step-")
    assert listed[trained.model]["parent"] == "gpt-4o-mini-2024-07-18"
    assert (listed["gpt-4o-mini"]["root"], listed["gpt-4o-mini"]["parent"]) == ("gpt-4o-mini-2024-07-18", None)


def test_what_no_project_has_cannot_be_gone_on_from(trained: Trained, tenant: Tenant) -> None:
    """Neither another project's model, nor its checkpoint, nor one that never was: all answer alike."""
    with tenant.http() as client:
        file_id = upload(client, jsonl(chat_rows(10)))
        checked(client, file_id)
        names = (trained.model, f"{trained.model}:ckpt-step-1", f"{trained.model[:-4]}none")
        reported = [
            client.post("/fine_tuning/jobs", json={"model": name, "training_file": file_id}).text.replace(name, "NAME")
            for name in names
        ]
    assert len(set(reported)) == 1
    assert "model_not_found" in reported[0]
