"""On the default stack, with the trainer's own engine: a model is trained, beats its base on questions that it has not
seen, and takes its alias by that; and functions are called as they were learnt."""

import json
from typing import Any

import httpx2
import openai
import pytest

from tests.stack import ROOT, DevStack
from tests.wire import Tenant, checked, ended, eventually, new_tenant, upload

TICKETS = ROOT / "examples/ticket-classification"
CALLING = ROOT / "examples/function-calling"


@pytest.fixture(scope="module")
def tenant(stack: DevStack) -> Tenant:
    """A project of its own."""
    ready = stack.ready()
    return new_tenant(ready["base_url"], ready["database_url"])


def _file(client: httpx2.Client, content: bytes, name: str) -> str:
    file_id = upload(client, content, name=name)
    assert checked(client, file_id)["status"] == "processed"
    return file_id


@pytest.mark.timeout(400)
def test_a_model_that_beats_its_base_on_new_tickets_takes_the_alias(tenant: Tenant) -> None:
    with tenant.http() as client:
        training = _file(client, (TICKETS / "train.jsonl").read_bytes(), "train.jsonl")
        held_out = _file(client, (TICKETS / "valid.jsonl").read_bytes(), "valid.jsonl")
        comparison = {"file": held_out, "graders": [{"type": "exact"}], "max_tokens": 8, "sure": True}
        body = {
            "model": "babbage-002",
            "training_file": training,
            "seed": 1,
            "hyperparameters": {"n_epochs": 5},
            "deploy": {"alias": "tickets", "comparison": comparison},
        }
        job = ended(client, client.post("/fine_tuning/jobs", json=body).json()["id"])
        assert job["status"] == "succeeded", job

        def decided() -> dict[str, Any] | None:
            reported: dict[str, Any] = client.get(f"/fine_tuning/jobs/{job['id']}/timeline").json()["deploy"]
            return reported if reported["status"] != "comparing" else None

        reported = eventually(decided, within_seconds=240)
        assert (reported["status"], reported["reason"]) == ("deployed", None)
        shown = client.get(f"/model_comparisons/{reported['comparison']}").json()
        base, tuned = shown["result"]["models"]
        print(f"tickets: base {base['score']}, tuned {tuned['score']}, better by {tuned['difference']}")
        assert (shown["fine_tuning_job"], tuned["model"]) == (job["id"], job["fine_tuned_model"])
        assert tuned["difference"]["low"] > 0
        events = client.get(f"/fine_tuning/jobs/{job['id']}/events", params={"limit": 5}).json()["data"]
        assert events[0]["message"] == "The comparison passed, and the alias tickets points at the model now"
    asked = tenant.sdk().completions.create(model="tickets", prompt="Please add a dark theme\n\n###\n\n", max_tokens=4)
    assert asked.model == job["fine_tuned_model"]
    assert asked.choices[0].text.strip()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("way", ["keep", "without_definitions"])
def test_functions_are_called_as_they_were_learnt(tenant: Tenant, way: str) -> None:
    """With the definitions, and without any, which costs fewer tokens and is asked without them too."""
    with tenant.http() as client:
        source = _file(client, (CALLING / "train.jsonl").read_bytes(), "train.jsonl")
        made = client.post("/dataset_preparations", json={"file": source, "tool_definitions": way}).json()

        def prepared() -> dict[str, Any] | None:
            shown: dict[str, Any] = client.get(f"/dataset_preparations/{made['id']}").json()
            return shown if shown["finished_at"] is not None else None

        done = eventually(prepared)
        assert done["status"] == "succeeded", done
        if way != "keep":
            assert done["definition_tokens"]["saved"] == done["definition_tokens"]["before"] > 0
        checked(client, done["training_file"])
        body = {"model": "gpt-4o-mini-2024-07-18", "training_file": done["training_file"], "seed": 1}
        job = ended(client, client.post("/fine_tuning/jobs", json=body).json()["id"])
        assert job["status"] == "succeeded", job
    row = json.loads((CALLING / "train.jsonl").read_text().splitlines()[0])
    tools = row["tools"] if way == "keep" else openai.NOT_GIVEN
    sdk = tenant.sdk()
    asked: dict[str, Any] = {"model": job["fine_tuned_model"], "messages": row["messages"][:2], "tools": tools}
    answer = sdk.chat.completions.create(**asked)
    wanted = row["messages"][2]["tool_calls"][0]["function"]
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    assert [call.function.to_dict() for call in choice.message.tool_calls if call.type == "function"] == [wanted]
    with sdk.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion()
    assert streamed.choices[0].message.tool_calls is not None
    assert json.loads(streamed.choices[0].message.to_json())["tool_calls"][0]["function"]["name"] == wanted["name"]
    assert streamed.choices[0].finish_reason == "tool_calls"
