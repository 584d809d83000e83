"""Finds the keys that a row's format does not have, and says what will become of each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, NamedTuple

from service.datasets.other_keys import beside, calls, images, messages
from service.datasets.other_keys.metadata import is_metadata
from service.datasets.other_keys.moving import Move, Moving, begin
from service.datasets.other_keys.names import known_role, plain_name
from service.datasets.parsing.decode import pointer_token
from service.datasets.parsing.formats import (
    CHAT_KEYS,
    COMPLETION_KEYS,
    MESSAGE_KEYS,
    PREFERENCE_KEYS,
    ROLES,
    messages_of,
    read_example,
)
from service.datasets.report_schema import Format

Fate = Literal["metadata", "reasoning", "unknown"]

REASONING_NAMES = frozenset({"reasoning_content", "reasoning", "thinking", "thought", "thoughts", "chain_of_thought"})
_MOVABLE = frozenset().union(messages.NAMES, calls.NAMES, images.NAMES, beside.NAMES)
_ROW_KEYS: dict[Format, frozenset[str]] = {
    "chat": CHAT_KEYS,
    "preference": PREFERENCE_KEYS,
    "completion": COMPLETION_KEYS,
}


class OtherKey(NamedTuple):
    """A key without a place: the steps to the object that has it, its value, its fate, and why it was not moved."""

    steps: tuple[str | int, ...]
    key: str
    value: Any
    fate: Fate
    reason: str | None

    @property
    def pointer(self) -> str:
        """The JSON pointer of the value (RFC 6901)."""
        return "".join(f"/{step}" for step in (*self.steps, pointer_token(self.key)))

    @property
    def in_message(self) -> bool:
        """Whether a message has the key, and not the row."""
        return len(self.steps) > 0 and isinstance(self.steps[-1], int)


def move_keys(row: dict[str, Any], format: Format) -> Moving | None:
    """Move every key that has a place to it, and write roles and weights as the format does; None if there are none."""
    if format == "completion" or not has_candidates(row, format):
        return None
    moving = begin(row)
    messages.rename_parts(moving)
    messages.set_weights(moving)
    calls.move_calls(moving)
    images_beside = format != "reinforcement"
    if images_beside:
        calls.move_definitions(moving)
        images.move_images(moving)
        beside.move_beside(moving)
    return moving


def moves(row: dict[str, Any], format: Format) -> list[Move]:
    """The keys and values of a row that have a place, and what they become."""
    moving = move_keys(row, format)
    return moving.moves if moving is not None else []


def other_keys(row: dict[str, Any], format: Format) -> list[OtherKey]:
    """The keys of a row that have no place in its format, at any of its levels, without those that can be moved."""
    places = list(_other_places(row, format))
    if not places:
        return []
    moving = move_keys(row, format)
    moved = {move.pointer for move in moving.moves} if moving is not None else set()
    stuck = moving.stuck if moving is not None else {}
    texts = cache(lambda: read_example(0, row, format).texts)
    found = []
    for steps, key, value in places:
        each = OtherKey(steps, key, value, "unknown", None)
        if each.pointer in moved:
            continue
        reason = stuck.get(each.pointer)
        fate: Fate = "unknown"
        if reason is None and is_metadata(key, value, texts):
            fate = "metadata"
        elif reason is None and _is_reasoning(row, each):
            fate = "reasoning"
        found.append(each._replace(fate=fate, reason=reason))
    return found


def has_candidates(row: dict[str, Any], format: Format) -> bool:
    """Whether a row may have keys, roles or weights of another notation: quick, since nearly no row has."""
    if any(plain_name(key) in _MOVABLE for _, key, _ in _other_places(row, format)):
        return True
    holder = row.get("input") if format == "preference" else row
    if isinstance(holder, dict) and (isinstance(holder.get("tools"), str) or isinstance(holder.get("functions"), str)):
        return True
    return any(
        messages.has_other_weight(message)
        or (
            (message.get("role") not in ROLES if isinstance(message.get("role"), str) else False)
            and known_role(message.get("role")) is not None
        )
        for _, message in messages_of(row)
    )


def _other_places(row: dict[str, Any], format: Format) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
    known = _ROW_KEYS.get(format)
    if known is not None and not row.keys() <= known:
        yield from (((), key, row[key]) for key in row if key not in known)
    if format == "completion":
        return
    inner = row.get("input")
    if format == "preference" and isinstance(inner, dict) and not inner.keys() <= CHAT_KEYS:
        yield from ((("input",), key, inner[key]) for key in inner if key not in CHAT_KEYS)
    for pointer, message in messages_of(row):
        if not message.keys() <= MESSAGE_KEYS:
            *names, index = pointer[1:].split("/")
            if known is not None and names[0] not in known:
                continue
            steps: tuple[str | int, ...] = (*names, int(index))
            yield from ((steps, key, message[key]) for key in message if key not in MESSAGE_KEYS)


def _is_reasoning(row: dict[str, Any], found: OtherKey) -> bool:
    if not found.in_message or plain_name(found.key) not in REASONING_NAMES or not isinstance(found.value, str):
        return False
    message: Any = row
    for step in found.steps:
        message = message[step]
    return known_role(message.get("role")) == "assistant"
