"""Mistral: chat rows whose calls have no `type` or arguments that are objects, and rows of `interactions`.

Source of the shape: Mistral's guide to fine-tuning and the README of mistral-finetune.
"""

from __future__ import annotations

from typing import Any

from service.datasets.shapes.building import any_object, call, example, objects
from service.datasets.shapes.registry import CannotConvert, Row, Shape, register


def _turns(row: Row) -> Any:
    return row["interactions"] if "interactions" in row else row.get("messages")


def _functions(turns: Any) -> list[tuple[Row, Row]]:
    return [
        (made, made["function"])
        for turn in any_object(turns)
        for made in any_object(turn.get("tool_calls"))
        if isinstance(made.get("function"), dict)
    ]


def _recognises(row: Row) -> bool:
    turns = _turns(row)
    if "interactions" in row and any("role" in turn or "is_user" in turn for turn in any_object(turns)):
        return True
    if any(turn.get("role") is None for turn in any_object(turns)):
        return False
    return any("prefix" in turn for turn in any_object(turns)) or any(
        "type" not in made or isinstance(function.get("arguments"), dict) for made, function in _functions(turns)
    )


def _convert(row: Row) -> list[Row]:
    tools = row.get("tools", row.get("available_tools"))
    made = [_message(turn) for turn in objects(_turns(row), "messages")]
    return example(made, objects(tools, "tools") if tools else None)


def _message(turn: Row) -> Row:
    if "is_user" in turn:
        return {"role": "user" if turn["is_user"] else "assistant", "content": turn.get("text", turn.get("content"))}
    if not isinstance(turn.get("role"), str):
        raise CannotConvert("a message has no role")
    made = {key: value for key, value in turn.items() if key not in ("prefix", "tool_calls")}
    if turn.get("tool_calls"):
        made["tool_calls"] = [
            call(
                id=str(each.get("id")),
                name=each["function"].get("name"),
                arguments=each["function"].get("arguments"),
            )
            if isinstance(each.get("function"), dict)
            else each
            for each in objects(turn["tool_calls"], "tool_calls")
        ]
    return made


MISTRAL = register(
    Shape(
        name="mistral",
        title="Mistral",
        keys="`messages` whose calls have no `type`, or arguments that are objects; or `interactions`",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        structure=frozenset({"role", "is_user", "type", "prefix"}),
    )
)
