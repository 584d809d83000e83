"""Attacks on the evaluation of what callers wrote: schemas and patterns that take exponential time or much memory."""

import json
from typing import Any

from tests.neighbours.attacker import Attacker
from tests.neighbours.exchange import Answer, file_request, json_request
from tests.wire import MODEL, jsonl

QUOTES = "/v1/dataset_generations/quotes"


def doubled(steps: int) -> dict[str, Any]:
    """A schema of some KB in which each definition refers to the next one twice: 2^steps evaluations."""
    definitions: dict[str, Any] = {
        f"a{step}": {"allOf": [{"$ref": f"#/$defs/a{step + 1}"}] * 2} for step in range(steps)
    }
    definitions[f"a{steps}"] = {"type": "integer"}
    return {"$defs": definitions, "$ref": "#/$defs/a0"}


def recursive() -> dict[str, Any]:
    """A schema that evaluates each level of its instance twice."""
    level = {"properties": {"x": {"$ref": "#/$defs/a"}}}
    return {"$defs": {"a": {"allOf": [level, level]}}, "$ref": "#/$defs/a"}


async def doubling_references(attacker: Attacker) -> None:
    """A grader whose schema doubles with each reference."""
    await _compare(attacker, "answers", {"type": "json_schema", "schema": doubled(30)})


async def recursive_schema(attacker: Attacker) -> None:
    """A grader whose schema is exponential in the depth of the model's answer, which is the attacker's too."""
    await _compare(attacker, "nested", {"type": "json_schema", "schema": recursive()})


async def huge_patterns(attacker: Attacker) -> None:
    """A grader whose pattern is short and huge when compiled."""
    repeated = "(" * 3 + "a" + "{1,90})" * 2 + "{1,9})"
    pattern = "|".join(f"{repeated}{number}" for number in range(200))
    await _compare(attacker, "answers", {"type": "regular_expression", "pattern": pattern})


async def patterns_of_tools(attacker: Attacker) -> None:
    """3,000 patterns in the tools of a generation's quote."""
    properties = {f"p{number}": {"pattern": rf"\pL{{1,15}}x{number}"} for number in range(3000)}
    await _quote_tools(attacker, {"type": "object", "properties": properties})


async def references_of_tools(attacker: Attacker) -> None:
    """The doubling schema in the tools of a generation's quote."""
    await _quote_tools(attacker, {"type": "object", **doubled(30)})


async def tools_of_a_file(attacker: Attacker) -> None:
    """Training files whose tools have the doubling schema."""
    definitions = doubled(40)["$defs"]
    parameters = {"type": "object", "$defs": definitions, "properties": {"a": {"$ref": "#/$defs/a0"}}}
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}

    async def upload(number: int) -> Answer:
        row = {
            "messages": [{"role": "user", "content": f"{number}"}, {"role": "assistant", "tool_calls": [call]}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}],
        }
        return await attacker.send(file_request(jsonl([row] * 12), key=attacker.key))

    await attacker.repeat(upload, at_once=2, pause_seconds=0.5)


async def _compare(attacker: Attacker, behaviour: str, grader: dict[str, Any]) -> None:
    await attacker.account(behaviour)
    prepared = attacker.comparison(await attacker.file(), grader)
    await attacker.repeat(lambda _: attacker.send(prepared), at_once=4, pause_seconds=0.5)


async def _quote_tools(attacker: Attacker, parameters: dict[str, Any]) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    wanted = {"topics": ["rivers"], "n_per_topic": 1, "model": MODEL, "tools": [tool]}
    prepared = json_request(QUOTES, json.dumps(wanted).encode(), key=attacker.key)

    async def ask(_: int) -> Answer:
        return await attacker.send(prepared)

    await attacker.repeat(ask, at_once=4, pause_seconds=0.2)


ATTACKS = (
    doubling_references,
    recursive_schema,
    huge_patterns,
    patterns_of_tools,
    references_of_tools,
    tools_of_a_file,
)
SHORT = (recursive_schema, patterns_of_tools, tools_of_a_file)
