"""Fixes of keys that the format does not have: they are moved, removed where they carry nothing, or refused.

What becomes of each key is decided in `service.datasets.other_keys`, which the checks use too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from service.datasets.excerpts import excerpt
from service.datasets.other_keys.advice import advice
from service.datasets.other_keys.find import OtherKey, move_keys, other_keys
from service.datasets.preparation.changes import Changed, Dropped, Refused
from service.datasets.preparation.scratch import Row
from service.datasets.report_schema import Format

MAX_MOVES_NAMED = 5
"""The moves that the reason of a change names."""


def move_known_keys(row: Row, format: Format) -> Row | Changed | Dropped | Refused:
    """Moves what other tools write elsewhere. Drops a row that says of itself that it is not trained."""
    moving = move_keys(row, format)
    if moving is None or not moving.moves:
        return row
    if moving.drop is not None:
        return Dropped(moving.drop)
    becomes = dict.fromkeys(f"{move.key[:40]!r} becomes {move.becomes}" for move in moving.moves)
    return Changed(moving.row, f"{'; '.join(list(becomes)[:MAX_MOVES_NAMED])}.")


def inline_reasoning(row: Row, format: Format) -> Row | Dropped | Refused:
    """Writes the reasoning of an assistant message before its content, as models with open reasoning do (Qwen,
    DeepSeek).
    """
    found = [each for each in other_keys(row, format) if each.fate == "reasoning"]
    if not found:
        return row
    made = copy.deepcopy(row)
    for each in found:
        message = _holder(made, each)
        thought = f"<think>\n{message.pop(each.key).strip()}\n</think>"
        content = message.get("content")
        if isinstance(content, list):
            message["content"] = [{"type": "text", "text": f"{thought}\n\n"}, *content]
        else:
            message["content"] = f"{thought}\n\n{content}" if content else thought
    return made


def drop_metadata(row: Row, format: Format) -> Row | Dropped | Refused:
    """Removes keys that carry nothing to learn. Refuses a row with another key that has no place: it must be chosen
    what becomes of it.
    """
    found = other_keys(row, format)
    kept = [each for each in found if each.fate != "metadata"]
    if kept:
        sentences = [f"{advice(each, format)} ({each.pointer}: {excerpt(each.value)})" for each in kept]
        return Refused("; ".join(sentences))
    return _without(row, found)


def drop_unknown_keys(row: Row, format: Format) -> Row | Dropped | Refused:
    """Removes keys that have no place, also with text in them. A key that can be moved stays."""
    return row if format == "completion" else _without(row, other_keys(row, format))


def drop_extra_columns(row: Row, format: Format) -> Row | Dropped | Refused:
    """Removes all columns but prompt and completion."""
    return _without(row, other_keys(row, format)) if format == "completion" else row


def _without(row: Row, keys: Iterable[OtherKey]) -> Row:
    made: Row | None = None
    for each in keys:
        made = copy.deepcopy(row) if made is None else made
        del _holder(made, each)[each.key]
    return row if made is None else made


def _holder(row: Row, found: OtherKey) -> Any:
    holder: Any = row
    for step in found.steps:
        holder = holder[step]
    return holder
