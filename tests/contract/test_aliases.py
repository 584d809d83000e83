"""Aliases with real models on a running stack: asked by name, deployed to by jobs, switched under load."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from openai.types import Model
from openai.types.chat import ChatCompletion

from tests.contract.conftest import Trained
from tests.contract.strict import strict_items, strictly
from tests.wire import MODEL, chat_rows, checked, completion_rows, ended, eventually, jsonl, refusal, upload

BASE = "gpt-4o-mini-2024-07-18"
QUESTION: Any = [{"role": "user", "content": "How long is river 3?"}]


@pytest.fixture
def alias(trained: Trained) -> Iterator[str]:
    """An alias of the trained model, in its project."""
    with trained.tenant.http() as http:
        name = "contract"
        answer = http.post("/model_aliases", json={"name": name, "model": trained.model})
        assert answer.status_code == 200, answer.text
        yield name
        http.delete(f"/model_aliases/{name}")


class TestAsking:
    def test_gives_what_the_model_gives_and_says_which_it_was(self, trained: Trained, alias: str) -> None:
        sdk = trained.tenant.sdk()
        direct, by_alias = (
            strictly(ChatCompletion, sdk.chat.completions.with_raw_response.create(model=name, messages=QUESTION))
            for name in (trained.model, alias)
        )
        assert by_alias.model == trained.model
        assert by_alias.choices[0].message.content == direct.choices[0].message.content

    def test_streamed(self, trained: Trained, alias: str) -> None:
        pieces = list(trained.tenant.sdk().chat.completions.create(model=alias, messages=QUESTION, stream=True))
        assert {piece.model for piece in pieces} == {trained.model}

    def test_of_a_base_model_and_by_the_legacy_call(self, sdk: openai.OpenAI, http: httpx2.Client) -> None:
        http.post("/model_aliases", json={"name": "legacy", "model": "davinci-002"})
        assert sdk.completions.create(model="legacy", prompt="River", max_tokens=4).model == "davinci-002"
        http.delete("/model_aliases/legacy")
        with pytest.raises(openai.NotFoundError) as refused:
            sdk.completions.create(model="legacy", prompt="River")
        assert refused.value.code == "model_not_found"

    def test_is_of_one_project(self, sdk: openai.OpenAI, alias: str) -> None:
        with pytest.raises(openai.NotFoundError):
            sdk.chat.completions.create(model=alias, messages=QUESTION)
        assert alias not in [model.id for model in sdk.models.list()]

    def test_is_listed_as_the_sdk_s_model(self, trained: Trained, alias: str) -> None:
        answer = trained.tenant.sdk().models.with_raw_response.list()
        assert alias in [model.id for model in strict_items(Model, answer.http_response.json()["data"])]
        assert strictly(Model, trained.tenant.sdk().models.with_raw_response.retrieve(alias)).id == alias

    def test_callers_during_promotions_get_one_of_the_two_and_never_an_error(
        self, trained: Trained, alias: str
    ) -> None:
        answered: Counter[str] = Counter()
        done = threading.Event()

        def ask() -> None:
            sdk = trained.tenant.sdk()
            while not done.is_set():
                try:
                    reported = sdk.chat.completions.create(model=alias, messages=QUESTION, max_tokens=2).model
                except openai.OpenAIError as error:
                    reported = repr(error)
                answered[reported] += 1

        callers = [threading.Thread(target=ask) for _ in range(3)]
        for caller in callers:
            caller.start()
        try:
            with trained.tenant.http() as http:
                for number in range(40):
                    model = (BASE, trained.model)[number % 2]
                    assert http.post(f"/model_aliases/{alias}/promote", json={"model": model}).status_code == 200
                eventually(lambda: sum(answered.values()) > 20)
        finally:
            done.set()
            for caller in callers:
                caller.join()
        assert set(answered) <= {BASE, trained.model}, answered


class TestDeploy:
    def test_a_job_that_succeeds_moves_the_alias_and_tells_it(self, http: httpx2.Client) -> None:
        file_id = upload(http, jsonl(chat_rows(10, salt="D")))
        checked(http, file_id)
        order = {"model": MODEL, "training_file": file_id, "hyperparameters": {"n_epochs": 1}}
        quote = http.post("/fine_tuning/quotes", json=order).json()
        body = {**order, "quote_id": quote["id"], "deploy": {"alias": "from-job"}}
        headers = {"idempotency-key": "deploys-once"}
        first, again = (http.post("/fine_tuning/jobs", json=body, headers=headers) for _ in range(2))
        assert first.status_code == 200, first.text
        assert first.json() == again.json()
        job_id = first.json()["id"]
        pending = http.get(f"/fine_tuning/jobs/{job_id}/timeline").json()["deploy"]
        assert (pending["alias"], pending["reason"]) == ("from-job", None)
        job = ended(http, job_id)
        assert job["status"] == "succeeded", job
        alias = http.get("/model_aliases/from-job").json()
        assert (alias["model"], alias["version"]) == (job["fine_tuned_model"], 1)
        (line,) = http.get("/model_aliases/from-job/history").json()["data"]
        assert (line["action"], line["by"]) == ("deployed", {"type": "job", "id": job_id})
        timeline = http.get(f"/fine_tuning/jobs/{job_id}/timeline").json()
        assert timeline["deploy"] == {"alias": "from-job", "status": "deployed", "reason": None}
        messages = [event["message"] for event in http.get(f"/fine_tuning/jobs/{job_id}/events").json()["data"]]
        assert "The alias from-job points at the model now" in messages
        events = http.get("/webhook_events", params={"event_types": "model_alias.promoted", "limit": 100}).json()
        (reported,) = [event["data"] for event in events["data"] if event["data"]["id"] == alias["id"]]
        assert (reported["action"], reported["model"], reported["job_id"]) == (
            "deployed",
            job["fine_tuned_model"],
            job_id,
        )

    def test_a_job_that_does_not_leaves_it(self, http: httpx2.Client) -> None:
        file_id = upload(http, jsonl(completion_rows(10)))
        body = {"model": "davinci-002", "training_file": file_id, "deploy": {"alias": "never"}}
        job_id = http.post("/fine_tuning/jobs", json=body).json()["id"]
        http.post(f"/fine_tuning/jobs/{job_id}/cancel")
        if ended(http, job_id)["status"] == "cancelled":
            deploy = http.get(f"/fine_tuning/jobs/{job_id}/timeline").json()["deploy"]
            assert deploy == {"alias": "never", "status": "void", "reason": None}
            assert refusal(http.get("/model_aliases/never"))["code"] == "model_alias_not_found"


class TestEvents:
    def test_have_exactly_the_keys_of_their_samples_and_are_numbered(self, http: httpx2.Client) -> None:
        """Real events against the catalogue, from which the documentation is made."""
        from service.webhooks.event_types import CATALOGUE

        good, bad = upload(http, jsonl(chat_rows(10, salt="E"))), upload(http, b"not json\n")
        checked(http, good)
        checked(http, bad)
        body = {"model": MODEL, "training_file": good, "hyperparameters": {"n_epochs": 1}}
        job_ids = [http.post("/fine_tuning/jobs", json=body).json()["id"] for _ in range(2)]
        http.post(f"/fine_tuning/jobs/{job_ids[1]}/cancel")
        for job_id in job_ids:
            ended(http, job_id)
        http.post("/model_aliases", json={"name": "keys", "model": MODEL})
        events = http.get("/webhook_events", params={"limit": 100}).json()["data"]
        seen = set()
        for event in events:
            assert set(event) == {"id", "object", "type", "created_at", "data"}
            assert set(event["data"]) == {"id", *CATALOGUE[event["type"]].data}, event["type"]
            for key, sample in CATALOGUE[event["type"]].data.items():
                if isinstance(sample, dict) and key != "metadata" and event["data"][key] is not None:
                    assert set(event["data"][key]) == set(sample), key
            seen.add(event["type"])
        assert {
            "fine_tuning.job.created", "fine_tuning.job.running", "fine_tuning.job.succeeded", "file.processed",
            "file.error", "model_alias.promoted",
        } <= seen  # fmt: skip
        for job_id in job_ids:
            reported = [event for event in reversed(events) if event["data"]["id"] == job_id]
            numbers = [event["data"]["sequence"] for event in reported]
            assert numbers == sorted(set(numbers)), json.dumps(reported)
            assert reported[0]["type"] == "fine_tuning.job.created"
