"""What callers wrote is checked and evaluated within limits; a limit names what reached it, and harms nobody else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from service.errors import InvalidRequest, RateLimited
from service.processes.guard import LimitReached
from service.runs.comparisons.evaluation import CheckGraders, grade_cases
from service.runs.comparisons.graders.base import AnswerContent
from service.runs.comparisons.graders.registry import AnyGrader
from service.runs.comparisons.grading import AnsweredCase, GradedCase
from service.runs.evaluator import MAX_WAITING_CHECKS, Evaluator
from service.runs.generations.evaluation import CheckTools, call_faults
from service.runs.plan import Answer
from tests.datasets.rows import call, tool
from tests.evaluation.bombs import doubling, many_patterns, nested, recursive

Open = Callable[..., Evaluator]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Opens evaluators, which are closed at the end."""
    every: list[Evaluator] = []

    def open_one(*, seconds: float = 1.0, memory_bytes: int = 512 << 20, max_waiting: int | None = None) -> Evaluator:
        every.append(Evaluator(processes=2, seconds=seconds, memory_bytes=memory_bytes, max_waiting=max_waiting))
        return every[-1]

    yield open_one
    for each in every:
        await each.close()


def graders(*options: dict[str, Any]) -> list[AnyGrader]:
    """Graders as a request has them."""
    return msgspec.convert(list(options), list[AnyGrader])


def case(text: str, *, line: int = 1) -> AnsweredCase:
    """A case with one model, whose answer and reference are the text."""
    answer = Answer(message={"role": "assistant", "content": text})
    return AnsweredCase(line=line, offset=0, turn=2, reference=AnswerContent(text=text), answers=[answer], verdicts={})


async def graded(evaluator: Evaluator, wanted: list[AnyGrader], *cases: AnsweredCase) -> list[GradedCase]:
    """All scores of the cases."""
    async with aclosing(grade_cases(evaluator, wanted, cases, project_id="a")) as portions:
        return [each async for some in portions for each in some]


SCHEMA_BOMBS = {
    "references": (doubling(27), "subschemas"),
    "patterns": (many_patterns(3_000), "patterns"),
}


class TestChecks:
    @pytest.mark.parametrize("name", SCHEMA_BOMBS)
    async def test_a_grader_over_a_limit_is_refused(self, opened: Open, name: str) -> None:
        schema, words = SCHEMA_BOMBS[name]
        wanted = graders({"type": "exact"}, {"type": "json_schema", "schema": schema})
        with pytest.raises(InvalidRequest, match=words) as refused:
            await opened().check(CheckGraders(wanted), project_id="a", param="graders", code="invalid_grader")
        assert (refused.value.param, refused.value.code) == ("graders[1].schema", "invalid_grader")

    @pytest.mark.parametrize("name", SCHEMA_BOMBS)
    async def test_a_tool_over_a_limit_is_refused(self, opened: Open, name: str) -> None:
        schema, words = SCHEMA_BOMBS[name]
        with pytest.raises(InvalidRequest, match=words) as refused:
            tools = [tool("first"), tool("second", parameters=schema)]
            await opened().check(CheckTools(tools), project_id="a", param="tools", code="invalid_tools")
        assert (refused.value.param, refused.value.code) == ("tools[1].function.parameters", "invalid_tools")

    async def test_a_check_that_takes_too_long_is_refused_and_named(self, opened: Open) -> None:
        patterns: dict[str, Any] = {rf"\pL{{1,4}}x{number}": {} for number in range(150)}
        wanted = graders({"type": "json_schema", "schema": {"patternProperties": patterns}})
        with pytest.raises(InvalidRequest) as refused:
            await opened(seconds=0.0001).check(
                CheckGraders(wanted), project_id="a", param="graders", code="invalid_grader"
            )
        assert "0.0001 seconds of processor time" in refused.value.message
        assert (refused.value.param, refused.value.code) == ("graders", "invalid_grader")

    async def test_what_is_valid_is_remembered(self, opened: Open) -> None:
        evaluator = opened()
        request = CheckGraders(graders({"type": "regular_expression", "pattern": "a+"}))
        await evaluator.check(request, project_id="a", param="graders", code="invalid_grader")
        await evaluator.close()
        await evaluator.check(request, project_id="a", param="graders", code="invalid_grader")

    async def test_a_project_with_too_many_waiting_checks_is_refused(self, opened: Open) -> None:
        evaluator = opened(max_waiting=MAX_WAITING_CHECKS)

        async def check(number: int) -> None:
            request = CheckGraders(graders({"type": "contains", "text": f"text {number}"}))
            await evaluator.check(request, project_id="a", param="graders", code="invalid_grader")

        checks = [asyncio.create_task(check(number)) for number in range(MAX_WAITING_CHECKS * 2)]
        results = await asyncio.gather(*checks, return_exceptions=True)
        refused = [each for each in results if each is not None]
        assert refused
        assert all(isinstance(each, RateLimited) and each.code == "rate_limit_exceeded" for each in refused)
        assert len(refused) < len(results)


class TestGrading:
    async def test_scores_are_those_of_the_graders(self, opened: Open) -> None:
        wanted = graders({"type": "exact"}, {"type": "json_schema", "schema": recursive()})
        (one, other) = await graded(opened(), wanted, case(nested(3)), case("no JSON", line=2))
        assert [one.grader_scores[0][name].passed for name in ("exact", "json_schema")] == [True, True]
        assert [other.grader_scores[0][name].passed for name in ("exact", "json_schema")] == [True, False]
        assert (other.line, other.scores) == (2, [0.5])

    async def test_an_evaluation_that_takes_too_long_names_the_grader_and_the_line(self, opened: Open) -> None:
        evaluator = opened()
        wanted = graders({"type": "exact"}, {"type": "json_schema", "name": "shape", "schema": recursive()})
        with pytest.raises(LimitReached) as reached:
            await graded(evaluator, wanted, case(nested(2)), case(nested(60), line=7))
        assert reached.value.limit == "time"
        assert "the grader 'shape' on the answer of model 1 to line 7" in reached.value.label
        assert "TUNEGATE_EVALUATION_SECONDS" in evaluator.explain(reached.value)
        assert len(await graded(evaluator, wanted, case(nested(2)))) == 1

    async def test_an_evaluation_that_takes_too_much_memory_names_the_grader(self, opened: Open) -> None:
        evaluator = opened(seconds=30.0, memory_bytes=128 << 20)
        with pytest.raises(LimitReached) as reached:
            await graded(evaluator, graders({"type": "json_equality"}), case("[" + "[]," * 3_000_000 + "1]"))
        assert reached.value.limit == "memory"
        assert "the grader 'json_equality'" in reached.value.label
        assert "TUNEGATE_EVALUATION_MEMORY_BYTES" in evaluator.explain(reached.value)

    async def test_many_evaluations_below_the_limit_have_one_together(self, opened: Open) -> None:
        wanted = graders(*({"type": "json_schema", "name": f"n{each}", "schema": recursive()} for each in range(10)))
        with pytest.raises(LimitReached) as reached:
            await graded(opened(seconds=0.5), wanted, *(case(nested(22), line=line) for line in range(10)))
        assert reached.value.label.startswith("grading: the grader")


class TestCalls:
    async def test_the_faults_of_calls(self, opened: Open) -> None:
        made = [("weather", [call()]), ("weather", [call(arguments="{}")]), ("weather", []), ("other", [call()])]
        faults = await call_faults(opened(), [tool()], made, project_id="a")
        assert faults[0] is None
        assert "do not fit the parameters" in str(faults[1])
        assert faults[2:] == ["there was no call.", "it does not call other."]

    async def test_a_call_that_takes_too_long_names_the_tool(self, opened: Open) -> None:
        with pytest.raises(LimitReached) as reached:
            await call_faults(
                opened(), [tool(parameters=recursive())], [("weather", [call(arguments=nested(60))])], project_id="a"
            )
        assert "validating a call of 'weather'" in reached.value.label
