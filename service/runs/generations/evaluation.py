"""What generations have evaluated in processes of their own: definitions of functions, and generated calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from service.runs.evaluator import Evaluator, portions


class CheckTools(msgspec.Struct, frozen=True, tag="check_tools"):
    """Check definitions of functions."""

    tools: list[dict[str, Any]]


class CheckCalls(msgspec.Struct, frozen=True, tag="check_calls"):
    """Check generated calls: each item has the name of the function to call and the `tool_calls` of an answer."""

    tools: list[dict[str, Any]]
    calls: list[tuple[str, Any]]


async def call_faults(
    evaluator: Evaluator, tools: list[dict[str, Any]], calls: Iterable[tuple[str, Any]], *, project_id: str
) -> list[str | None]:
    """What is wrong with generated calls, in order. Raises `LimitReached`, which names the tool, and `WorkFailed`."""
    faults: list[str | None] = []
    for some in portions(calls, lambda call: len(msgspec.json.encode(call))):
        faults += await evaluator.ask(CheckCalls(tools, some), list[str | None], project_id=project_id)
    return faults
