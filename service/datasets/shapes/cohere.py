"""Cohere: messages of System, User and Chatbot, or `chat_history` with a last `message`.

Source of the shape: Cohere's guide to fine-tuning Command for chat, and its Chat API (v1).
"""

from __future__ import annotations

from typing import Any

from service.datasets.shapes.building import any_object, example, message, objects, text_in, text_part
from service.datasets.shapes.registry import CannotConvert, Row, Shape, register

_ROLES = {"system": "system", "user": "user", "chatbot": "assistant"}


def _recognises(row: Row) -> bool:
    return any(str(each.get("role")).lower() == "chatbot" for each in any_object(row.get("messages")))


def _turn(turn: Row, key: str) -> Row:
    role = _ROLES.get(str(turn.get("role")).lower())
    if role is None:
        raise CannotConvert(f"the role {str(turn.get('role'))[:80]!r} is none of System, User and Chatbot")
    return message(role, [text_part(text_in(turn.get(key), key))])


def _convert(row: Row) -> list[Row]:
    return example(_turn(turn, "content") for turn in objects(row.get("messages"), "messages"))


def _recognises_history(row: Row) -> bool:
    history = any_object(row.get("chat_history"))
    return bool(history) and "message" in history[0] and "role" in history[0]


def _convert_history(row: Row) -> list[Row]:
    preamble = row.get("preamble")
    made = [message("system", [text_part(preamble)])] if isinstance(preamble, str) and preamble else []
    made.extend(_turn(turn, "message") for turn in objects(row["chat_history"], "chat_history"))
    for key, role in (("message", "user"), ("text", "assistant")):
        value: Any = row.get(key)
        value = row.get("response") if value is None and role == "assistant" else value
        if isinstance(value, dict):
            value = value.get("text")
        if value is not None:
            made.append(message(role, [text_part(text_in(value, key))]))
    return example(made)


COHERE = register(
    Shape(
        name="cohere",
        title="Cohere",
        keys="`messages` with the roles System, User and Chatbot",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        structure=frozenset({"role"}),
    )
)

COHERE_HISTORY = register(
    Shape(
        name="cohere_history",
        title="Cohere's chat requests",
        keys="`chat_history` with `role` and `message`",
        format="chat",
        recognises=_recognises_history,
        convert=_convert_history,
        structure=frozenset({"role"}),
    )
)
