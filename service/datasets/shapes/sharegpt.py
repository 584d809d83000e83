"""ShareGPT: `{"conversations": [{"from": "human", "value": …}, {"from": "gpt", "value": …}], "system": …}`.

Source of the shape: the datasets of FastChat and Vicuna, and the documentation of LLaMA-Factory, axolotl, ms-swift and
XTuner, which name its variants: other lists, `role` and `content`, questions with their answers as one turn.
"""

from __future__ import annotations

from typing import Any

from service.datasets.shapes.images import with_images
from service.datasets.shapes.json_texts import parsed
from service.datasets.shapes.registry import CannotConvert, Row, Shape, register
from service.datasets.shapes.turns import MARKERS, STRUCTURE, chat_example, is_turn, messages_of

_LISTS = ("conversations", "conversation", "dialog", "dialogue", "dialogs", "dialogues", "turns", "chat", "items")
_SYSTEM = ("system", "system_prompt", "system_message", "meta_instruction")


def turns_of(row: Row) -> list[Any] | None:
    """The turns of a row, also from JSON in a text; None if it has none. `messages` counts with `from` and `value`."""
    strings = row.get("data")
    if isinstance(strings, list) and _alternate(strings):
        return strings
    for key in _LISTS:
        turns = parsed(row.get(key))
        if isinstance(turns, list) and (not turns or is_turn(turns[0]) or _alternate(turns)):
            return turns
    turns = parsed(row.get("messages"))
    return turns if isinstance(turns, list) and turns and all(map(_is_from_value, turns)) else None


def chat_of(row: Row) -> Row:
    """The chat example of a row with turns."""
    turns = turns_of(row)
    if not turns:
        raise CannotConvert("the conversation has no turns")
    messages = with_images(row, messages_of(turns))
    system = next((row[key] for key in _SYSTEM if row.get(key)), None)
    return chat_example(messages, system=system, tools=row.get("tools") or row.get("functions"))


def _recognises(row: Row) -> bool:
    messages = row.get("messages")
    first = messages[0] if isinstance(messages, list) and messages else None
    if (isinstance(first, dict) and "role" in first) or "chosen" in row or "kto_tag" in row:
        return False
    return turns_of(row) is not None


def _is_from_value(turn: Any) -> bool:
    return isinstance(turn, dict) and "from" in turn and "value" in turn and "role" not in turn


def _alternate(turns: list[Any]) -> bool:
    return len(turns) > 1 and all(isinstance(turn, str) for turn in turns)


SHAREGPT = register(
    Shape(
        name="sharegpt",
        title="ShareGPT",
        keys="`conversations` with `from` and `value`",
        format="chat",
        recognises=_recognises,
        convert=lambda row: [chat_of(row)],
        in_tables=_recognises,
        structure=STRUCTURE,
        markers=MARKERS,
    )
)
