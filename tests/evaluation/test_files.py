"""A schema in a file's tools that costs too much is a finding, or ends the work on that file and names the line."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.processes.guard import LimitReached
from service.processes.pool import ProcessPool
from tests.datasets.rows import asked, call, calling, jsonl, tool
from tests.evaluation.bombs import doubling, many_patterns, nested, recursive

Pool = ProcessPool[dict[str, Any], dict[str, int]]


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """One process that checks files."""
    opened: Pool = ProcessPool(
        "tests.evaluation.report_program", answer_type=dict[str, int], processes=1, memory_bytes=512 << 20
    )
    yield opened
    await opened.close()


def _file(parameters: dict[str, Any], arguments: str) -> str:
    """Three rows, the second with a tool that has these parameters, and a call with these arguments."""
    row = {**calling(calls=[call(arguments=arguments)]), "tools": [tool(parameters=parameters)]}
    return jsonl(asked("What is first?"), row, asked("What is last?")).decode()


@pytest.mark.parametrize("schema", [doubling(27), many_patterns(3_000)], ids=["references", "patterns"])
async def test_a_schema_over_a_limit_is_a_finding(pool: Pool, schema: dict[str, Any]) -> None:
    counts = await pool.ask({"data": _file(schema, '{"city": "Rome"}')}, project_id="a")
    assert counts["schema_too_complex"] == 1
    assert "tool_parameters_invalid" not in counts


async def test_a_call_that_takes_too_long_ends_the_file_and_names_line_and_tool(pool: Pool) -> None:
    with pytest.raises(LimitReached) as reached:
        await pool.ask({"data": _file(recursive(), nested(60))}, project_id="a")
    assert reached.value.limit == "time"
    assert "line 2" in reached.value.label
    assert "validating a call of 'weather'" in reached.value.label
    counts = await pool.ask({"data": _file(recursive(), nested(3))}, project_id="a")
    assert "arguments_against_schema" not in counts, "the next file has a new process"
