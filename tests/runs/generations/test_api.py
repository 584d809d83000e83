"""`/v1/dataset_generations`: what it takes and refuses, and what two projects see of each other."""

from typing import Any

import pytest
from sqlalchemy import update

from service.database.tables import Run
from tests.runs.generations.test_plan import WEATHER
from tests.runs.harness import MODEL, RunHarness
from tests.wire import make_tenant, refusal

BODY: dict[str, Any] = {"topics": ["rivers", "湖泊"], "n_per_topic": 4, "model": MODEL}


class TestCreate:
    async def test_answers_at_once_with_every_default(self, harness: RunHarness) -> None:
        async with harness.http() as http:
            made = (await http.post("/dataset_generations", json={**BODY, "filename": "a/b.txt"})).json()
            assert made == (await http.get(f"/dataset_generations/{made['id']}")).json()
            quote = (await http.post("/dataset_generations/quotes", json=BODY)).json()
        assert made["id"].startswith("gen_")
        assert (made["object"], made["status"], made["file"]) == ("dataset_generation", "pending", None)
        assert made["options"] == {
            "topics": ["rivers", "湖泊"],
            "n_per_topic": 4,
            "question": {"model": MODEL, "prompt": None, "temperature": 1.0, "max_tokens": 200},
            "answer": {"model": MODEL, "prompt": None, "temperature": None, "max_tokens": 800},
            "system_prompt": None,
            "tools": None,
            "seed": 0,
            "concurrency": 8,
            "filename": "b.txt.jsonl",
        }
        assert made["budget"] == quote["price"]["upper"]
        assert made["cost"] == {"value": 0.0, "currency": "usd"}

    async def test_each_step_as_it_is_wanted(self, harness: RunHarness) -> None:
        async with harness.http() as http:
            body = {
                **BODY,
                "model": None,
                "question": {"model": "gpt-4o", "prompt": "Ask about {topic}.", "temperature": 0.5, "max_tokens": 50},
                "answer": {"model": MODEL},
                "budget": 1.5,
                "concurrency": 256,
            }
            made = (await http.post("/dataset_generations", json=body)).json()
        assert made["options"]["question"] == body["question"]
        assert made["budget"]["value"] == 1.5
        assert made["options"]["concurrency"] == harness.ctx.settings.run_concurrency

    async def test_an_alias_is_taken_as_what_it_stands_for_now(self, harness: RunHarness) -> None:
        async with harness.http() as http:
            await http.post("/model_aliases", json={"name": "writer", "model": MODEL})
            made = (await http.post("/dataset_generations", json={**BODY, "model": "writer"})).json()
        assert {made["options"][step]["model"] for step in ("question", "answer")} == {MODEL}

    async def test_once_however_often_it_arrives(self, harness: RunHarness) -> None:
        async with harness.http() as http:
            answers = [
                await http.post("/dataset_generations", json=BODY, headers={"idempotency-key": "k"}) for _ in range(2)
            ]
            assert answers[0].content == answers[1].content
            assert len((await http.get("/dataset_generations")).json()["data"]) == 1

    @pytest.mark.parametrize(
        ("body", "code", "param"),
        [
            ({"topics": None}, "invalid_type", "topics"),
            ({"topics": []}, "invalid_value", "topics"),
            ({"topics": [""]}, "invalid_value", "topics[0]"),
            ({"n_per_topic": 0}, "invalid_value", "n_per_topic"),
            ({"n_per_topic": 9_999}, "too_many_examples", "n_per_topic"),
            ({"model": None}, "missing_required_parameter", "model"),
            ({"model": None, "question": {"model": MODEL}}, "missing_required_parameter", "model"),
            ({"model": "gpt-0"}, "model_not_found", "model"),
            ({"answer": {"model": "gpt-0"}}, "model_not_found", "answer.model"),
            ({"model": "davinci-002"}, "unsupported_method", "model"),
            ({"answer": {"max_tokens": 1_000_000}}, "invalid_value", "answer.max_tokens"),
            ({"answer": {"temperature": 3}}, "invalid_value", "answer.temperature"),
            ({"question": {"prompts": "x"}}, "unknown_parameter", "question.prompts"),
            ({"budget": 0}, "invalid_value", "budget"),
            ({"concurrency": 0}, "invalid_value", "concurrency"),
            ({"tools": []}, "invalid_value", "tools"),
            ({"tools": [{"type": "function"}]}, "invalid_tools", "tools[0].function"),
            ({"tools": [WEATHER, WEATHER]}, "invalid_tools", "tools[1].function.name"),
            (
                {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "array"}}}]},
                "invalid_tools",
                "tools[0].function.parameters",
            ),
        ],
    )
    async def test_what_makes_no_sense_is_refused_with_its_field(
        self, harness: RunHarness, body: dict[str, Any], code: str, param: str
    ) -> None:
        async with harness.http() as http:
            for path in ("/dataset_generations", "/dataset_generations/quotes"):
                answer = await http.post(path, json={**BODY, **body})
                assert answer.status_code == 400, answer.text
                assert (refusal(answer)["code"], refusal(answer)["param"]) == (code, param)
            assert (await http.get("/dataset_generations")).json()["data"] == []


class TestQuote:
    async def test_tells_the_price_and_what_is_in_the_way(self, harness: RunHarness) -> None:
        async with harness.http() as http:
            quote = (await http.post("/dataset_generations/quotes", json=BODY)).json()
            price = {name: amount["value"] for name, amount in quote["price"].items()}
            assert 0 < price["low"] < price["expected"] < price["upper"]
            assert (quote["examples"], quote["calls"]) == (8, {"low": 16, "upper": 56})
            assert (quote["allowed"], quote["reasons"], quote["remaining_budget"]) == (True, [], None)
            await harness.limit(10)
            tight = {**BODY, "budget": 0.00001}
            quote = (await http.post("/dataset_generations/quotes", json=tight)).json()
            assert (quote["allowed"], len(quote["reasons"])) == (False, 2)
            assert quote["remaining_budget"]["value"] == 0.00001
            assert quote["budget"]["value"] == 0.00001

    async def test_what_it_comes_to_lies_within(self, harness: RunHarness) -> None:
        async with harness.http() as http:
            price = (await http.post("/dataset_generations/quotes", json=BODY)).json()["price"]
        made = await harness.generate(**BODY)
        ended = await harness.until_end(made["id"])
        assert ended["status"] == "succeeded"
        assert 0 < ended["cost"]["value"] < price["upper"]["value"]


class TestLists:
    async def test_newest_first_page_by_page_and_by_file(self, harness: RunHarness) -> None:
        made = [await harness.generate(n_per_topic=1, seed=seed) for seed in range(3)]
        ended = await harness.until_end(made[1]["id"])
        async with harness.http() as http:
            page = (await http.get("/dataset_generations", params={"limit": 2})).json()
            assert [each["id"] for each in page["data"]] == [made[2]["id"], made[1]["id"]]
            assert page["has_more"]
            rest = (await http.get("/dataset_generations", params={"after": page["last_id"]})).json()
            assert [each["id"] for each in rest["data"]] == [made[0]["id"]]
            found = (await http.get("/dataset_generations", params={"file": ended["file"]})).json()
            assert found["data"] == [ended]
            report = (await http.get(f"/files/{ended['file']}")).json()
            assert (report["purpose"], report["filename"]) == ("fine-tune", "generated.jsonl")
            assert (await http.delete(f"/files/{ended['file']}")).status_code == 200

    async def test_another_project_s_is_as_one_that_never_was(self, harness: RunHarness) -> None:
        made = await harness.generate()
        other = await make_tenant(harness.tenant.base_url, harness.ctx.settings.database_url)
        path = f"/dataset_generations/{made['id']}"
        async with harness.http(other) as http:
            assert (await http.get("/dataset_generations")).json()["data"] == []
            for method, address in (("GET", path), ("POST", f"{path}/cancel"), ("GET", f"{path}/events")):
                answer = await http.request(method, address)
                unknown = await http.request(method, address.replace(made["id"], "gen_none"))
                assert (answer.status_code, refusal(answer)["code"]) == (404, "dataset_generation_not_found")
                assert answer.text.replace(made["id"], "gen_none") == unknown.text
            streamed = await http.get(f"{path}/events", params={"stream": "true"})
            assert streamed.status_code == 404
        assert (await harness.shown(made["id"]))["status"] == "pending"


class TestEnds:
    async def test_one_that_has_ended_is_not_cancelled(self, harness: RunHarness) -> None:
        made = await harness.generate(n_per_topic=1)
        await harness.until_end(made["id"])
        async with harness.http() as http:
            answer = await http.post(f"/dataset_generations/{made['id']}/cancel")
        assert (answer.status_code, refusal(answer)["code"]) == (400, "run_not_cancellable")

    async def test_the_input_of_one_that_runs_cannot_be_deleted(self, harness: RunHarness) -> None:
        """Generations have none; a comparison does, and both are runs."""
        made = await harness.generate(n_per_topic=1)
        file = (await harness.until_end(made["id"]))["file"]
        other = await harness.generate(n_per_topic=1)
        async with harness.ctx.db.worker() as session:
            await session.execute(update(Run).where(Run.id == other["id"]).values(input_file_id=file))
        async with harness.http() as http:
            await harness.limit(None)
            answer = await http.delete(f"/files/{file}")
            assert (answer.status_code, refusal(answer)["code"]) == (409, "file_in_use")
            assert other["id"] in refusal(answer)["message"]
            await http.post(f"/dataset_generations/{other['id']}/cancel")
