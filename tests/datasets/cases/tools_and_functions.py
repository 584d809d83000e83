"""Cases of the checks in the section Tools and functions."""

from __future__ import annotations

from tests.datasets.cases.material import (
    NO_ARGUMENTS,
    NO_SCHEMAS,
    NOT_STRICT,
    OK,
    REFUSED_SCHEMAS,
    STRICT,
    TOO_COMPLEX,
    Case,
    input_with,
    prefixed,
)
from tests.datasets.rows import (
    asked,
    call,
    calling,
    chat,
    function_call_row,
    jsonl,
    message,
    pair,
    tool,
)

CASES: dict[str, list[Case]] = {
    "tools_and_functions": [
        Case(prefixed({**calling(), "functions": [tool()["function"]]}), 2, "/functions", jsonl(calling()))
    ],
    "tools_count": [
        Case(prefixed(asked(tools={})), 2, "/tools", jsonl(asked(tools=[]), asked(functions=[]))),
        Case(jsonl(pair(), input_with(tools=5)), 2, "/input/tools", jsonl(input_with(tools=[]))),
        Case(prefixed(asked(tools=[tool(f"t{index}") for index in range(129)])), 2, "/tools", jsonl(calling())),
        Case(prefixed(asked(functions={})), 2, "/functions", jsonl(function_call_row())),
    ],
    "parallel_tool_calls_type": [
        *(
            Case(
                prefixed(asked(parallel_tool_calls=bad)),
                2,
                "/parallel_tool_calls",
                jsonl(asked(parallel_tool_calls=good)),
            )
            for bad, good in (("true", True), (1, False), (None, True))
        ),
        Case(
            jsonl(pair(), input_with(parallel_tool_calls="false")),
            2,
            "/input/parallel_tool_calls",
            jsonl(input_with(tools=[], parallel_tool_calls=True)),
        ),
    ],
    "tool_shape": [
        Case(prefixed(asked(tools=["weather"])), 2, "/tools/0", jsonl(calling())),
        Case(prefixed(asked(tools=[{"function": {"name": "f"}}])), 2, "/tools/0/type", jsonl(calling())),
        Case(prefixed(asked(tools=[{"type": "function"}])), 2, "/tools/0/function", jsonl(calling())),
        Case(prefixed(asked(functions=["f"])), 2, "/functions/0", jsonl(function_call_row())),
    ],
    "tool_name_invalid": [
        Case(prefixed(asked(tools=[tool("get weather")])), 2, "/tools/0/function/name", jsonl(calling()))
    ],
    "tool_name_duplicate": [
        Case(
            prefixed(asked(tools=[tool("a"), tool("a")])),
            2,
            "/tools/1/function/name",
            jsonl(asked(tools=[tool("a"), tool("b")])),
        )
    ],
    "tool_parameters_invalid": [
        Case(prefixed(asked(tools=[tool(parameters=wrong)])), 2, "/tools/0/function/parameters", jsonl(calling()))
        for wrong in NO_SCHEMAS
    ],
    "tool_schema_refused": [
        Case(
            prefixed(asked(tools=[tool(parameters=bad)])),
            2,
            f"/tools/0/function/parameters{place}",
            jsonl(calling(), asked(tools=[tool(parameters=good)])),
        )
        for bad, place, good in REFUSED_SCHEMAS
    ],
    "tool_strict_schema": [
        Case(
            prefixed(asked(tools=[tool(parameters=bad, strict=True)])),
            2,
            f"/tools/0/function/parameters{place}",
            jsonl(asked(tools=[tool(parameters=STRICT, strict=True), tool("loose", parameters=bad)])),
        )
        for bad, place in NOT_STRICT
    ],
    "tool_fields": [
        Case(prefixed(asked(tools=[tool(returns="x")])), 2, "/tools/0/function/returns", jsonl(calling())),
        Case(prefixed(asked(tools=[{**tool(), "id": 1}])), 2, "/tools/0/id", jsonl(asked(tools=[tool(strict=False)]))),
        Case(prefixed(asked(tools=[tool(strict="yes")])), 2, "/tools/0/function/strict", jsonl(calling())),
        Case(
            prefixed(asked(tools=[tool() | {"function": {"name": "f", "description": ["x"]}}])),
            2,
            "/tools/0/function/description",
            jsonl(asked(tools=[tool() | {"function": {"name": "f"}}])),
        ),
    ],
    "schema_too_complex": [
        Case(prefixed(asked(tools=[tool(parameters=wrong)])), 2, "/tools/0/function/parameters", jsonl(calling()))
        for wrong in TOO_COMPLEX
    ],
    "older_functions": [Case(prefixed(function_call_row()), 2, "/functions", jsonl(calling()))],
    "call_shape": [
        Case(prefixed(calling(calls=[])), 2, "/messages/1/tool_calls", jsonl(calling())),
        Case(prefixed(calling(calls=["weather"])), 2, "/messages/1/tool_calls/0", jsonl(calling())),
        Case(prefixed(calling(calls=[{"id": "a", "type": "function"}])), 2, "/messages/1/tool_calls/0/function", OK),
        Case(prefixed(calling(calls=[{**call(), "type": "code"}])), 2, "/messages/1/tool_calls/0/type", OK),
        Case(prefixed(calling(calls=[call(name="")])), 2, "/messages/1/tool_calls/0/function/name", OK),
        Case(
            prefixed(chat(message("user"), message("assistant", function_call="f"))),
            2,
            "/messages/1/function_call",
            OK,
        ),
    ],
    "call_not_by_assistant": [
        Case(
            prefixed(chat(message("user", tool_calls=[call()]), message("assistant"), tools=[tool()])),
            2,
            "/messages/0/tool_calls",
            jsonl(calling()),
        )
    ],
    "call_undeclared": [
        Case(
            prefixed(calling(calls=[call(name="time")])),
            2,
            "/messages/1/tool_calls/0/function/name",
            jsonl(calling(), function_call_row()),
        ),
    ],
    "calls_without_definitions": [
        Case(
            prefixed(chat(message("user"), message("assistant", None, tool_calls=[call()]))),
            2,
            "/messages/1/tool_calls/0/function/name",
            jsonl(calling(), function_call_row(), calling(calls=[call(name="time")])),
        ),
        Case(prefixed(calling(tools=[])), 2, "/messages/1/tool_calls/0/function/name", jsonl(calling())),
    ],
    "arguments_invalid": [
        Case(
            prefixed(calling(calls=[call(arguments=wrong)])),
            2,
            "/messages/1/tool_calls/0/function/arguments",
            jsonl(calling(), function_call_row()),
        )
        for wrong in NO_ARGUMENTS
    ],
    "arguments_against_schema": [
        Case(
            prefixed(calling(calls=[call(arguments=bad)])),
            2,
            "/messages/1/tool_calls/0/function/arguments",
            jsonl(calling(), function_call_row()),
        )
        for bad in ("{}", '{"city": 5}', '{"city": "Rome", "unit": "K"}')
    ],
    "call_id_missing": [
        Case(prefixed(calling(calls=[call(call_id=None)])), 2, "/messages/1/tool_calls/0/id", jsonl(calling())),
        Case(
            prefixed(calling(after=[message("tool"), message("assistant")])),
            2,
            "/messages/2/tool_call_id",
            jsonl(function_call_row()),
        ),
    ],
    "call_id_duplicate": [
        Case(prefixed(calling(calls=[call(), call()])), 2, "/messages/1/tool_calls/1/id", jsonl(calling()))
    ],
    "call_unanswered": [
        Case(prefixed(calling(after=[message("assistant")])), 2, "/messages/1/tool_calls/0", jsonl(calling())),
        Case(
            prefixed(calling(calls=[call(), call(call_id="call_2")])),
            2,
            "/messages/1/tool_calls/1",
            jsonl(calling(after=[])),
        ),
        Case(
            prefixed(
                {
                    **function_call_row(),
                    "messages": [*function_call_row()["messages"][:2], message("user"), message("assistant")],
                }
            ),
            2,
            "/messages/1/function_call",
            jsonl(function_call_row()),
        ),
    ],
    "tool_call_id_unresolved": [
        Case(
            prefixed(calling(after=[message("tool", tool_call_id="other"), message("assistant")])),
            2,
            "/messages/2/tool_call_id",
            jsonl(calling()),
        )
    ],
}
