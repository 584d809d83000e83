"""`/v1/model_comparisons`: what it accepts and refuses, its result, and that it costs what it reports."""

import csv
import io
import json
from typing import Any

import pytest
from sqlalchemy import delete, select

from service.database.tables import ComparisonCase, RunCall
from tests.runs.comparisons.harness import MODELS, ComparisonHarness, Place, answering, capitals
from tests.runs.scripted import Call, Reply
from tests.wire import jsonl, make_tenant, refusal

BETTER = {0: lambda line: line % 3 == 0, 1: lambda line: line % 4 != 0}
SIGNS = ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
JUDGE = {"type": "judge", "model": "gpt-4.1"}


class TestResult:
    async def test_scores_wins_tokens_and_cost_of_each_model(self, comparisons: ComparisonHarness) -> None:
        comparisons.harness.upstream.script = answering(BETTER)
        made = await comparisons.compare(await comparisons.file())
        assert (made["object"], made["status"], made["result"]) == ("model_comparison", "pending", None)
        assert (made["models"], made["options"]["examples"]) == (MODELS, 12)
        done = await comparisons.ended(made["id"])
        assert (done["status"], done["progress"]["done"], done["progress"]["total"]) == ("succeeded", 12, 12)
        first, second = done["result"]["models"]
        assert first["score"]["value"] == pytest.approx(4 / 12, abs=1e-5)
        assert second["score"]["value"] == pytest.approx(9 / 12, abs=1e-5)
        assert (second["wins"]["wins"], second["wins"]["losses"], second["wins"]["ties"]) == (6, 1, 5)
        for estimate in (first["score"], second["difference"], second["wins"]["rate"]):
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
        assert second["graders"]["exact"]["pass_rate"]["value"] == 0.75
        assert first["tokens"] == second["tokens"] == {"input": 360, "output": 60}
        assert second["cost"]["value"] > first["cost"]["value"] > 0, "gpt-4o costs more than gpt-4o-mini"
        cost = await comparisons.harness.assert_books(made["id"])
        assert done["cost"]["value"] == cost / 1e6 == first["cost"]["value"] + second["cost"]["value"]
        assert len(comparisons.harness.upstream.log) == 24
        assert (await comparisons.harness.webhooks())[-1] == "model_comparison.succeeded"

    async def test_the_same_seed_and_inputs_give_the_same(self, comparisons: ComparisonHarness) -> None:
        comparisons.harness.upstream.script = answering(BETTER)
        file_id = await comparisons.file(capitals(30))
        results, lines = [], []
        for seed, concurrency in ((5, 8), (5, 1), (6, 4)):
            made = await comparisons.compare(file_id, max_examples=10, seed=seed, concurrency=concurrency)
            results.append((await comparisons.ended(made["id"]))["result"])
            lines.append([case["line"] for case in await comparisons.cases(made["id"])])
        assert results[0] == results[1] != results[2]
        assert lines[0] == lines[1] != lines[2]
        assert len(lines[0]) == 10

    async def test_a_judge_decides_in_both_orders_and_is_paid_apart(self, comparisons: ComparisonHarness) -> None:
        comparisons.harness.upstream.script = answering(BETTER, verdict="right")
        made = await comparisons.compare(await comparisons.file(), graders=[JUDGE])
        done = await comparisons.ended(made["id"])
        second = done["result"]["models"][1]
        assert done["result"]["judges"]["calls"] == 2 * sum(
            1 for line in range(1, 13) if BETTER[0](line) != BETTER[1](line)
        )
        assert (second["wins"]["wins"], second["wins"]["losses"]) == (6, 1)
        assert second["graders"]["judge"]["score"]["value"] == pytest.approx((6 + 5 * 0.5) / 12, abs=1e-5)
        assert "judge" not in done["result"]["models"][0]["graders"]
        assert {call.body["model"] for call in comparisons.harness.upstream.log if Place.of(call).judge} == {"gpt-4.1"}
        parts = [
            *(each["cost"]["value"] for each in done["result"]["models"]),
            done["result"]["judges"]["cost"]["value"],
        ]
        assert sum(parts) == pytest.approx(await comparisons.harness.assert_books(made["id"]) / 1e6)

    async def test_a_judge_that_favours_a_place_decides_nothing(self, comparisons: ComparisonHarness) -> None:
        comparisons.harness.upstream.script = answering(BETTER, verdict="first")
        done = await comparisons.ended((await comparisons.compare(await comparisons.file(), graders=[JUDGE]))["id"])
        wins = done["result"]["models"][1]["wins"]
        assert (wins["wins"], wins["losses"], wins["rate"]["value"]) == (0, 0, None)

    async def test_an_alias_is_what_it_stood_for_at_the_creation(self, comparisons: ComparisonHarness) -> None:
        comparisons.harness.upstream.script = answering(BETTER)
        async with comparisons.harness.http() as http:
            await http.post("/model_aliases", json={"name": "support", "model": "gpt-4o"})
            made = await comparisons.compare(await comparisons.file(), models=["gpt-4o-mini", "support"])
            await http.post("/model_aliases/support/promote", json={"model": "gpt-4.1"})
        done = await comparisons.ended(made["id"])
        assert [each["asked"] for each in done["result"]["models"]] == ["gpt-4o-mini", "support"]
        assert done["result"]["models"][1]["model"] == "gpt-4o"
        assert {call.body["model"] for call in comparisons.harness.upstream.log} == {"gpt-4o-mini", "gpt-4o"}


class TestCases:
    async def test_side_by_side_with_filters(self, comparisons: ComparisonHarness) -> None:
        comparisons.harness.upstream.script = answering(BETTER)
        graders = [{"type": "exact"}, {"type": "regular_expression", "name": "short", "pattern": r"^City \d{1,2}$"}]
        made = await comparisons.compare(await comparisons.file(), graders=graders)
        assert await comparisons.cases(made["id"]) == []
        await comparisons.ended(made["id"])
        cases = await comparisons.cases(made["id"])
        assert [case["line"] for case in cases] == list(range(1, 13))
        third = cases[2]
        assert third["prompt"] == capitals()[2]["messages"][:2]
        assert third["reference"] == {"text": "City 2", "calls": []}
        assert [answer["text"] for answer in third["models"]] == ["City 2", "City 2"]
        assert third["winner"] == "tie"
        fourth = cases[3]["models"]
        assert fourth[0]["graders"]["exact"] == {
            "score": 0.0, "passed": False, "why": "It is not the example's answer.",
        }  # fmt: skip
        assert (fourth[0]["tokens"], fourth[0]["finish_reason"]) == ({"input": 30, "output": 5}, "stop")

        async def lines(**query: str) -> list[int]:
            return [case["line"] for case in await comparisons.cases(made["id"], **query)]

        assert await lines(failed="exact", model="gpt-4o") == [4, 8, 12]
        assert await lines(failed="exact", model="gpt-4o-mini") == [1, 2, 4, 5, 7, 8, 10, 11]
        assert await lines(failed="exact") == [1, 2, 4, 5, 7, 8, 10, 11, 12]
        assert await lines(model="gpt-4o", winner="gpt-4o-mini") == [12]
        assert await lines(winner="gpt-4o") == [1, 2, 5, 7, 10, 11]
        assert await lines(winner="tie") == [3, 4, 6, 8, 9]
        assert await lines(winner="tie", failed="short", model="gpt-4o-mini") == [4, 8]

    async def test_what_a_filter_does_not_know_is_refused(self, comparisons: ComparisonHarness) -> None:
        made = await comparisons.compare(await comparisons.file())
        async with comparisons.harness.http() as http:
            for query, param, code in (
                ({"failed": "fuzzy"}, "failed", "invalid_value"),
                ({"model": "gpt-5"}, "model", "invalid_value"),
                ({"winner": "nobody", "format": "csv"}, "winner", "invalid_value"),
                ({"after": f"{made['id']}.c0"}, "after", "invalid_cursor"),
                ({"after": "cmp_none.c0", "format": "jsonl"}, "after", "invalid_cursor"),
                ({"after": f"{made['id']}.c٣"}, "after", "invalid_cursor"),
                ({"format": "xml"}, "format", "invalid_value"),
            ):
                error = refusal(await http.get(f"/model_comparisons/{made['id']}/cases", params=query))
                assert (error["param"], error["code"]) == (param, code)

    async def test_as_files(self, comparisons: ComparisonHarness) -> None:
        def script(call: Call) -> Reply:
            return Reply(text="=cmd|' /C calc'!A0") if Place.of(call).line == 2 else answering(BETTER)(call)

        comparisons.harness.upstream.script = script
        made = await comparisons.compare(await comparisons.file(capitals(60)))
        await comparisons.ended(made["id"])
        path = f"/model_comparisons/{made['id']}/cases"
        async with comparisons.harness.http() as http:
            lines = await http.get(path, params={"format": "jsonl"})
            assert [json.loads(line) for line in lines.text.splitlines()] == await comparisons.cases(made["id"])
            assert lines.headers["content-disposition"] == f'attachment; filename="{made["id"]}.jsonl"'
            table = await http.get(path, params={"format": "csv", "failed": "exact", "model": "gpt-4o"})
        assert table.headers["content-type"].startswith("text/csv"), table.text
        rows = list(csv.DictReader(io.StringIO(table.text)))
        assert [row["line"] for row in rows] == ["2", *(str(line) for line in range(4, 61, 4))]
        assert rows[0]["gpt-4o answer"] == "'=cmd|' /C calc'!A0", "no formula for a spreadsheet"
        assert (rows[1]["reference"], rows[1]["gpt-4o answer"], rows[1]["gpt-4o exact"]) == (
            "City 3",
            "City 904",
            "0.0",
        )
        assert json.loads(rows[1]["prompt"]) == capitals(60)[3]["messages"][:2]

    async def test_no_cell_is_a_formula(self, comparisons: ComparisonHarness) -> None:
        """Neither answers nor references; signs within a text change nothing."""
        texts = [f"{sign}1" for sign in SIGNS] + ["1=1", "\u00bb=1", " =1"]

        def script(call: Call) -> Reply:
            return Reply(text=texts[Place.of(call).line - 1])

        comparisons.harness.upstream.script = script
        rows = capitals(len(texts))
        for row, text in zip(rows, texts, strict=True):
            row["messages"][-1]["content"] = text
        made = await comparisons.compare(await comparisons.file(rows))
        await comparisons.ended(made["id"])
        async with comparisons.harness.http() as http:
            table = await http.get(f"/model_comparisons/{made['id']}/cases", params={"format": "csv"})
        read = list(csv.DictReader(io.StringIO(table.content.decode(), newline="")))
        expected = [f"'{text}" for text in texts[: len(SIGNS)]] + texts[len(SIGNS) :]
        assert [row["gpt-4o answer"] for row in read] == expected
        assert [row["reference"] for row in read] == expected

    async def test_a_deleted_file_takes_its_examples_away(self, comparisons: ComparisonHarness) -> None:
        comparisons.harness.upstream.script = answering(BETTER)
        file_id = await comparisons.file()
        made = await comparisons.compare(file_id)
        async with comparisons.harness.http() as http:
            in_use = await http.delete(f"/files/{file_id}")
            assert (in_use.status_code, refusal(in_use)["code"]) == (409, "file_in_use")
            await comparisons.ended(made["id"])
            assert (await http.delete(f"/files/{file_id}")).status_code == 200
        first = (await comparisons.cases(made["id"]))[0]
        assert (first["prompt"], first["reference"]) == (None, None)
        assert first["models"][1]["text"] == "City 0"
        async with comparisons.harness.ctx.db.worker() as session:
            kept = (
                await session.scalars(select(ComparisonCase.grader_scores).where(ComparisonCase.run_id == made["id"]))
            ).all()
            await session.execute(delete(RunCall).where(RunCall.run_id == made["id"]))  # as pruning does it
        assert "capital" not in json.dumps(list(kept))
        assert "City" not in json.dumps(list(kept)), "marks outlive the file, so they quote nothing of it"
        first = (await comparisons.cases(made["id"]))[0]
        assert (first["models"][1]["text"], first["models"][1]["score"]) == (None, 1.0)


class TestBounds:
    async def test_a_quote_tells_before_and_binds_what_is_spent(self, comparisons: ComparisonHarness) -> None:
        comparisons.harness.upstream.script = answering(BETTER)
        file_id = await comparisons.file()
        body = {"models": MODELS, "file": file_id, "graders": [{"type": "exact"}, JUDGE], "max_tokens": 40}
        async with comparisons.harness.http() as http:
            quote = (await http.post("/model_comparisons/quotes", json=body)).json()
        assert (quote["object"], quote["examples"], quote["calls"]) == (
            "model_comparison.quote", 12, {"low": 24, "upper": 48},
        )  # fmt: skip
        price = {name: amount["value"] for name, amount in quote["price"].items()}
        assert 0 < price["low"] < price["expected"] < price["upper"] == quote["budget"]["value"]
        assert (quote["allowed"], quote["reasons"]) == (True, [])
        done = await comparisons.ended(
            (await comparisons.compare(file_id, graders=body["graders"], max_tokens=40))["id"]
        )
        assert done["status"] == "succeeded"
        assert price["low"] <= done["cost"]["value"] <= price["upper"]
        async with comparisons.harness.http() as http:
            tight = (
                await http.post("/model_comparisons/quotes", json={**body, "budget": price["expected"] / 2})
            ).json()
            await comparisons.harness.limit(1)
            poor = (await http.post("/model_comparisons/quotes", json=body)).json()
        assert (tight["allowed"], poor["allowed"]) == (False, False)

    async def test_a_budget_ends_it_with_what_is_complete(self, comparisons: ComparisonHarness) -> None:
        comparisons.harness.upstream.script = answering(BETTER)
        made = await comparisons.compare(
            await comparisons.file(capitals(40)), budget=0.002, max_tokens=16, concurrency=1
        )
        done = await comparisons.ended(made["id"])
        assert (done["status"], done["error"]["code"], done["error"]["param"]) == (
            "failed",
            "budget_exceeded",
            "budget",
        )
        assert 0 < done["result"]["cases"] < 40
        assert done["cost"]["value"] <= 0.002
        assert len(await comparisons.cases(made["id"])) == done["result"]["cases"]
        await comparisons.harness.assert_books(made["id"])

    async def test_a_cancel_ends_it_at_once_and_what_was_asked_is_paid(self, comparisons: ComparisonHarness) -> None:
        comparisons.harness.upstream.script = answering(BETTER)
        made = await comparisons.compare(await comparisons.file())
        path = f"/model_comparisons/{made['id']}/cancel"
        async with comparisons.harness.http() as http:
            for _ in range(2):
                answer = await http.post(path)
                assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        await comparisons.turn(made["id"])
        assert (await comparisons.shown(made["id"]))["status"] == "cancelled"
        assert comparisons.harness.upstream.log == []
        again = await comparisons.compare((await comparisons.shown(made["id"]))["file"])
        await comparisons.ended(again["id"])
        async with comparisons.harness.http() as http:
            late = await http.post(f"/model_comparisons/{again['id']}/cancel")
        assert (late.status_code, refusal(late)["code"]) == (400, "run_not_cancellable")

    async def test_events_tell_how_far_it_is(self, comparisons: ComparisonHarness) -> None:
        comparisons.harness.upstream.script = answering(BETTER)
        made = await comparisons.compare(await comparisons.file())
        await comparisons.ended(made["id"])
        async with comparisons.harness.http() as http:
            events = (await http.get(f"/model_comparisons/{made['id']}/events", params={"limit": 100})).json()["data"]
            stream = await http.get(f"/model_comparisons/{made['id']}/events", params={"stream": "true"})
        assert events[-1]["message"] == f"Created model_comparison: {made['id']}"
        assert events[0]["message"] == "Ended: 12 of 12 cases are graded"
        progress = [event["data"]["done"] for event in events if event["type"] == "progress"][::-1]
        assert progress == sorted(progress)
        assert progress[-1] == 12
        assert stream.text.count("data: ") >= len(events)


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "code", "param"),
        [
            ({"models": []}, "invalid_value", "models"),
            ({"models": ["gpt-4o", "gpt-4o"]}, "conflicting_parameters", "models"),
            ({"models": ["gpt-4o", "gpt-none"]}, "model_not_found", "models[1]"),
            ({"models": ["gpt-4o", "davinci-002"]}, "conflicting_parameters", "models"),
            ({"models": ["davinci-002"]}, "invalid_file_format", "file"),
            ({"models": ["gpt-4o"], "graders": [JUDGE]}, "conflicting_parameters", "models"),
            ({"graders": []}, "invalid_value", "graders"),
            ({"graders": [{"type": "vibes"}]}, "invalid_value", "graders[0].type"),
            ({"graders": [{"type": "exact", "fuzzy": 1}]}, "unknown_parameter", "graders[0].fuzzy"),
            ({"graders": [{"type": "exact"}] * 2}, "invalid_grader", "graders[1].name"),
            ({"graders": [{"type": "regular_expression", "pattern": "("}]}, "invalid_grader", "graders[0].pattern"),
            ({"graders": [{"type": "json_schema", "schema": {"type": 1}}]}, "invalid_grader", "graders[0].schema"),
            ({"graders": [{"type": "judge", "model": "nobody"}]}, "model_not_found", "graders[0].model"),
            ({"graders": [{"type": "judge", "model": "davinci-002"}]}, "unsupported_method", "graders"),
            ({"file": "file-none"}, "file_not_found", "file"),
            ({"max_examples": 0}, "invalid_value", "max_examples"),
            ({"max_tokens": 900_000}, "invalid_value", "max_tokens"),
            ({"budget": 0}, "invalid_value", "budget"),
            ({"answers": 3}, "unknown_parameter", "answers"),
        ],
    )
    async def test_what_makes_no_sense_is_refused_with_its_field(
        self, comparisons: ComparisonHarness, body: dict[str, Any], code: str, param: str
    ) -> None:
        wanted = {"models": MODELS, "file": await comparisons.file(), "graders": [{"type": "exact"}]} | body
        async with comparisons.harness.http() as http:
            for path in ("/model_comparisons", "/model_comparisons/quotes"):
                answer = await http.post(path, json=wanted)
                if answer.status_code == 409:  # another model counts by another encoding
                    await comparisons.check_files()
                    answer = await http.post(path, json=wanted)
                error = refusal(answer)
                assert (answer.status_code, error["code"], error["param"]) == (400, code, param), error
            assert (await http.get("/model_comparisons")).json()["data"] == []

    async def test_files_that_cannot_be_compared_over(self, comparisons: ComparisonHarness) -> None:
        broken = await comparisons.file([*capitals(3), {"messages": [{"role": "usr", "content": "x"}]}])
        with_grader = await comparisons.file(
            [{"messages": [{"role": "user", "content": "x"}], "answer": "y"} for _ in range(3)]
        )
        async with comparisons.harness.http() as http:
            other = await http.post("/files", data={"purpose": "user_data"}, files={"file": ("a.csv", b"a,b\n1,2\n")})
            for file_id, code in (
                (broken, "invalid_file_format"),
                (with_grader, "invalid_file_format"),
                (other.json()["id"], "wrong_purpose"),
            ):
                body: dict[str, Any] = {"models": MODELS, "file": file_id, "graders": [{"type": "exact"}]}
                error = refusal(await http.post("/model_comparisons", json=body))
                assert (error["code"], error["param"]) == (code, "file")

    async def test_a_file_that_is_not_checked_yet_is_waited_for(self, comparisons: ComparisonHarness) -> None:
        async with comparisons.harness.http() as http:
            upload = await http.post(
                "/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", jsonl(capitals()))}
            )
            body = {"models": MODELS, "file": upload.json()["id"], "graders": [{"type": "exact"}]}
            pending = await http.post("/model_comparisons", json=body)
            assert (pending.status_code, refusal(pending)["code"]) == (409, "report_pending")
            assert pending.headers["x-should-retry"] == "true"
            await comparisons.check_files()
            assert (await http.post("/model_comparisons", json=body)).status_code == 200

    async def test_the_same_request_twice_is_one_comparison(self, comparisons: ComparisonHarness) -> None:
        body = {"models": MODELS, "file": await comparisons.file(), "graders": [{"type": "exact"}]}
        async with comparisons.harness.http() as http:
            answers = [
                await http.post("/model_comparisons", json=body, headers={"idempotency-key": "k"}) for _ in range(2)
            ]
            assert answers[0].content == answers[1].content
            listed = (await http.get("/model_comparisons", params={"file": str(body["file"])})).json()["data"]
        assert len(listed) == 1


async def test_another_project_s_is_as_one_that_never_was(comparisons: ComparisonHarness) -> None:
    harness = comparisons.harness
    harness.upstream.script = answering(BETTER)
    file_id = await comparisons.file()
    made = await comparisons.compare(file_id)
    await comparisons.ended(made["id"])
    other = await make_tenant(harness.tenant.base_url, harness.tenant.database_url)
    async with harness.http(other) as theirs:
        for method, path in (
            ("GET", "/model_comparisons/ID"),
            ("POST", "/model_comparisons/ID/cancel"),
            ("GET", "/model_comparisons/ID/events"),
            ("GET", "/model_comparisons/ID/cases"),
            ("GET", "/model_comparisons/ID/cases?format=csv"),
        ):
            answers = [await theirs.request(method, path.replace("ID", each)) for each in (made["id"], "cmp_none")]
            assert answers[0].text.replace(made["id"], "cmp_none") == answers[1].text
            assert (answers[0].status_code, refusal(answers[0])["code"]) == (404, "model_comparison_not_found")
        assert (await theirs.get("/model_comparisons", params={"file": file_id})).json()["data"] == []
        body = {"models": MODELS, "file": file_id, "graders": [{"type": "exact"}]}
        assert refusal(await theirs.post("/model_comparisons", json=body))["code"] == "file_not_found"
