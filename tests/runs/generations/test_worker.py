"""What workers make of a generation: the examples, what was asked again, and what it cost."""

from typing import Any

import msgspec

from service.database import leases
from service.database.tables import FileReport
from tests.runs.generations.test_plan import WEATHER
from tests.runs.harness import RunHarness
from tests.runs.scripted import Call, Reply, plain, words
from workers.datasets import report as datasets


async def _report(harness: RunHarness, file_id: str) -> dict[str, Any]:
    """The file's report, which a worker makes."""
    async with harness.ctx.db.worker() as session:
        [claimed] = await leases.claim(
            session, FileReport, lease_seconds=60.0, where=[FileReport.project_id == harness.project_id]
        )
    await datasets.validate(harness.ctx, claimed)
    async with harness.http() as http:
        report: dict[str, Any] = (await http.get(f"/files/{file_id}/report")).json()
    return report


async def test_topics_become_a_file_with_a_report(harness: RunHarness) -> None:
    made = await harness.generate(system_prompt="You know waters.", n_per_topic=6)
    assert (made["status"], made["progress"]) == ("pending", {"total": 12, "done": 0, "calls": 0, "share": 0.0})
    ended = await harness.until_end(made["id"])
    assert (ended["status"], ended["error"], ended["waiting_reason"]) == ("succeeded", None, None)
    assert ended["progress"] == {"total": 12, "done": 12, "calls": 24, "share": 1.0}
    rows = await harness.examples(ended["file"])
    assert len(rows) == 12
    for row in rows:
        system, question, answer = row["messages"]
        assert system == {"role": "system", "content": "You know waters."}
        assert (question["role"], answer["role"]) == ("user", "assistant")
    assert await harness.counts() == {"files": 1, "reports": 1, "announced": 0}
    cost = await harness.assert_books(made["id"])
    assert round(ended["cost"]["value"] * 1_000_000) == cost > 0
    report = await _report(harness, ended["file"])
    assert (report["examples"], report["errors"]) == (12, 0)


async def test_everything_that_goes_wrong_is_counted_and_repaired(harness: RunHarness) -> None:
    """Fillers, near duplicates, cut answers, answers of nothing, refusals, an upstream that is asked too much."""
    duplicate = "How long is the river that runs through the old town and past the new one, from its spring to its end?"
    limited = iter([Reply(status=429, retry_after="0.1", code="rate_limit_exceeded")] * 3)

    def script(call: Call) -> Reply:
        if call.item == 7 and (busy := next(limited, None)) is not None:
            return busy
        if call.kind == "question":
            if call.attempt == 1 and call.item in (0, 2, 4):
                return Reply(text=duplicate.replace("long", ("long", "wide", "deep")[call.item // 2]))
            return plain(call)
        match call.item, call.attempt:
            case 1, _:
                return Reply(text="Of course! " + (plain(call).text or ""))
            case 3, _:
                return Reply(text="好的，" + (plain(call).text or ""))
            case 5, 1:
                return Reply(text="It is as long as", finish_reason="length")
            case 6, _:
                return Reply(text="It is as wide as", finish_reason="length")
            case 8, _:
                return Reply(status=400)
            case 9, 1:
                return Reply(text="Sure!")
            case _:
                return plain(call)

    harness.upstream.script = script
    made = await harness.generate()
    ended = await harness.until_end(made["id"])
    assert ended["status"] == "succeeded"
    assert ended["outcome"] == {
        "examples": 8,
        "missing": 2,
        "fillers_removed": 2,
        "near_duplicates": 2,
        "unusable_questions": 0,
        "cut": 3,
        "empty_answers": 1,
        "invalid_calls": 0,
        "dropped": {"cut": 1, "refused": 1},
    }
    answers = [row["messages"][-1]["content"] for row in await harness.examples(ended["file"])]
    assert answers[1] == f"It is {words('answer/1/try-1')}."
    assert answers[3] == f"It is {words('answer/3/try-1')}."
    assert len([key for key in harness.upstream.keys() if key == "question/7/try-1"]) > 1  # noqa: SIM118
    report = await _report(harness, ended["file"])
    assert report["errors"] == 0
    assert not {"filler_opening", "near_duplicate"} & set(report["counts"])
    await harness.assert_books(made["id"])


async def test_calls_of_tools_that_satisfy_their_schema(harness: RunHarness) -> None:
    """Bad calls are asked again, and what they cost counts too."""

    def script(call: Call) -> Reply:
        if call.kind == "question":
            return plain(call)
        arguments = {"city": f"Town {call.item}"} if (call.item, call.attempt) != (2, 1) else {"days": 0}
        function = {"name": "get_weather", "arguments": msgspec.json.encode(arguments).decode()}
        return Reply(tool_calls=[{"id": "call_abc", "type": "function", "function": function}], usage=(50, 20))

    harness.upstream.script = script
    made = await harness.generate(tools=[WEATHER], n_per_topic=6)
    ended = await harness.until_end(made["id"])
    assert (ended["status"], ended["outcome"]["invalid_calls"]) == ("succeeded", 1)
    rows = await harness.examples(ended["file"])
    assert len(rows) == 12
    assert rows[5]["tools"] == [WEATHER]
    assert rows[5]["messages"][-1]["tool_calls"][0]["function"]["arguments"] == '{"city":"Town 5"}'
    assert ended["progress"]["calls"] == 25
    report = await _report(harness, ended["file"])
    assert (report["examples"], report["errors"]) == (12, 0)
    await harness.assert_books(made["id"])


async def test_one_of_which_nothing_can_be_used_says_so(harness: RunHarness) -> None:
    harness.upstream.script = lambda call: Reply(text="Sure!")
    made = await harness.generate(n_per_topic=1)
    ended = await harness.until_end(made["id"])
    assert (ended["status"], ended["error"]["code"], ended["file"]) == ("failed", "nothing_generated", None)
    assert ended["outcome"]["dropped"] == {"unusable_question": 2}
    assert await harness.assert_books(made["id"]) > 0


async def test_the_same_seed_asks_the_same(harness: RunHarness) -> None:
    """To the byte, whichever order the answers came in."""
    bodies = []
    for _ in range(2):
        made = await harness.generate(seed=7)
        await harness.until_end(made["id"])
        bodies.append({call.key: call.body for call in harness.upstream.log})
        harness.upstream.reset()
    assert bodies[0] == bodies[1]
