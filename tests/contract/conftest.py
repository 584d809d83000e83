"""One stack a worker, and in it a project with a job that has ended."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import openai
import pytest

from tests.stack import DevStack
from tests.wire import Tenant, chat_rows, checked, ended, jsonl, new_tenant, upload


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A job that succeeded, with what belongs to it."""

    tenant: Tenant
    training_file: str
    validation_file: str
    job_id: str
    model: str


@pytest.fixture(scope="module")
def tenant(stack: DevStack) -> Tenant:
    """A project for one module."""
    ready = stack.ready()
    return new_tenant(ready["base_url"], ready["database_url"])


@pytest.fixture(scope="module")
def http(tenant: Tenant) -> Iterator[httpx2.Client]:
    """A plain client of that project."""
    with tenant.http() as client:
        yield client


@pytest.fixture(scope="module")
def sdk(tenant: Tenant) -> openai.OpenAI:
    """The official SDK for that project."""
    return tenant.sdk()


@pytest.fixture(scope="session")
def trained(stack: DevStack) -> Trained:
    """A project of its own with a job that trained on chat data, and validated."""
    ready = stack.ready()
    tenant = new_tenant(ready["base_url"], ready["database_url"])
    with tenant.http() as client:
        training = upload(client, jsonl(chat_rows(12)))
        validation = upload(client, jsonl(chat_rows(4, salt="V")), name="valid.jsonl")
        checked(client, training)
        checked(client, validation)
        body = {
            "model": "gpt-4o-mini-2024-07-18",
            "training_file": training,
            "validation_file": validation,
            "suffix": "Rivers of Europe",
            "seed": 7,
            "metadata": {"team": "geo", "run": "1"},
            "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": 4}}},
        }
        job_id = client.post("/fine_tuning/jobs", json=body).json()["id"]
        job = ended(client, job_id)
        assert job["status"] == "succeeded", job
    return Trained(
        tenant=tenant,
        training_file=training,
        validation_file=validation,
        job_id=job_id,
        model=job["fine_tuned_model"],
    )
