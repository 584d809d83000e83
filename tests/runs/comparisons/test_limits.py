"""Limits of a comparison: of what its graders cost on an answer, and of the examples that it reads."""

import asyncio
import dataclasses
import json
from typing import Any

import pytest

from service.runs.comparisons import cases
from service.runs.evaluator import MAX_WAITING_CHECKS, Evaluator
from tests.evaluation.bombs import nested, recursive
from tests.runs.comparisons.harness import ComparisonHarness, capitals
from tests.runs.scripted import Reply
from tests.wire import refusal
from workers.runs import advance
from workers.runs import comparisons as worker_comparisons

SHAPE = {"type": "json_schema", "name": "shape", "schema": recursive()}


async def _failed(comparisons: ComparisonHarness, made: dict[str, Any], evaluator: Evaluator) -> dict[str, Any]:
    """The error of a comparison that one attempt, with these processes, ends as failed."""
    harness = comparisons.harness
    try:
        claimed = await harness.claim(made["id"])
        assert claimed is not None
        await advance.advance(dataclasses.replace(harness.ctx, evaluator=evaluator), claimed)
    finally:
        await evaluator.close()
    shown = await comparisons.shown(made["id"])
    assert shown["status"] == "failed"
    assert (await harness.row(made["id"])).failures <= 1
    error: dict[str, Any] = shown["error"]
    return error


class TestEvaluation:
    @pytest.mark.parametrize(
        ("text", "seconds", "memory_bytes", "limit"),
        [
            (nested(60), 0.5, 512 << 20, "0.5 seconds of processor time (TUNEGATE_EVALUATION_SECONDS)"),
            (
                "[" + "[]," * 300_000 + "1]",
                60.0,
                12 << 20,
                "12 MiB of memory (TUNEGATE_EVALUATION_MEMORY_BYTES)",
            ),
        ],
        ids=["time", "memory"],
    )
    async def test_a_grader_that_takes_too_much_ends_its_comparison_at_the_first_attempt(
        self,
        comparisons: ComparisonHarness,
        text: str,
        seconds: float,
        memory_bytes: int,
        limit: str,
    ) -> None:
        comparisons.harness.upstream.script = lambda call: Reply(text=text, usage=(30, 5))
        made = await comparisons.compare(
            await comparisons.file(), models=["gpt-4o-mini"], graders=[SHAPE], max_examples=1
        )
        evaluator = Evaluator(processes=2, seconds=seconds, memory_bytes=memory_bytes)
        error = await _failed(comparisons, made, evaluator)
        assert (error["code"], error["param"]) == ("evaluation_limit_exceeded", "graders")
        assert "the grader 'shape' on the answer of model 1 to line " in error["message"]
        assert limit in error["message"]

    async def test_more_checks_than_may_wait_are_refused(self, comparisons: ComparisonHarness) -> None:
        """Each takes a hundred milliseconds, so that they wait for each other."""

        def body(number: int) -> dict[str, Any]:
            patterns: dict[str, Any] = {rf"\pL{{1,4}}x{number}x{each}": {} for each in range(150)}
            grader = {"type": "json_schema", "schema": {"patternProperties": patterns}}
            return {"models": ["gpt-4o-mini"], "file": "file-none", "graders": [grader]}

        async with comparisons.harness.http() as http:
            requests = [
                http.post("/model_comparisons/quotes", json=body(each)) for each in range(3 * MAX_WAITING_CHECKS)
            ]
            answers = await asyncio.gather(*requests)
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert len(refused) < len(answers)
        for answer in refused:
            error = refusal(answer)
            assert (error["code"], error["param"]) == ("rate_limit_exceeded", "graders")
            assert f"{MAX_WAITING_CHECKS} requests of the project" in error["message"]
            assert answer.headers["retry-after"] == "1"
        assert {refusal(answer)["code"] for answer in answers if answer not in refused} == {"file_not_found"}


class TestExamples:
    @pytest.mark.parametrize("limit", ["MAX_CASES_BYTES", "MAX_CASES_VALUES"])
    async def test_examples_that_are_too_large_together(
        self, comparisons: ComparisonHarness, monkeypatch: pytest.MonkeyPatch, limit: str
    ) -> None:
        made = await comparisons.compare(await comparisons.file(), models=["gpt-4o-mini"])
        monkeypatch.setattr(worker_comparisons, limit, 20)
        ended = await comparisons.ended(made["id"])
        assert (ended["status"], ended["error"]["code"], ended["error"]["param"]) == (
            "failed",
            "too_many_examples",
            "max_examples",
        )
        assert comparisons.harness.upstream.log == []

    async def test_one_with_too_many_values_is_named_before_it_is_decoded(
        self, comparisons: ComparisonHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = capitals(3)
        rows[1]["tools"] = [_tool(enum=list(range(500)))]
        made = await comparisons.compare(await comparisons.file(rows), models=["gpt-4o-mini"])
        monkeypatch.setattr(cases, "MAX_LINE_VALUES", 400)
        ended = await comparisons.ended(made["id"])
        assert (ended["status"], ended["error"]["code"], ended["error"]["param"]) == (
            "failed",
            "invalid_file_format",
            "file",
        )
        assert "The example in line 2 is too large: it has more than 400 values" in ended["error"]["message"]
        assert comparisons.harness.upstream.log == []


def _tool(**parameter: Any) -> dict[str, Any]:
    properties = {"number": {"type": "integer", **parameter}}
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": "choose", "description": "x", "parameters": parameters}}


def test_an_example_of_a_conversation_with_a_long_prompt_has_few_values() -> None:
    row = capitals(1)[0]
    row["messages"][1]["content"] = "one, two, three [and more], " * 50_000
    line = json.dumps(row).encode()
    assert len(list(cases.read_cases([line], [0], "chat", turn="last", stop=[]))) == 1
