"""Checks of keys that the format does not have, and of roles and weights as other tools write them.

Upstreams refuse every key that they do not know. What becomes of each is decided in `service.datasets.other_keys`,
which the fixes use too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.datasets.checks.registry import Hit, format_check
from service.datasets.other_keys.advice import advice
from service.datasets.other_keys.find import Fate, OtherKey, moves, other_keys
from service.datasets.report_schema import Format

SECTION = "Chat"
_FORMATS: tuple[Format, ...] = ("chat", "preference", "reinforcement")


@format_check("other_notation", "error", SECTION, formats=_FORMATS, fix="move_known_keys")
def other_notation(row: dict[str, Any], format: Format) -> Iterator[Hit]:
    """A key, role or weight is written as other tools write it: `system` or `images` beside the messages, `from` and
    `value`, `train: false` for weight 0, the role human.
    """
    for move in moves(row, format):
        yield Hit(
            move.pointer, move.value, f"{move.key[:40]!r} becomes {move.becomes}; the fix move_known_keys does that."
        )


@format_check("metadata_key", "error", SECTION, formats=(*_FORMATS, "completion"), fix="drop_metadata")
def metadata_key(row: dict[str, Any], format: Format) -> Iterator[Hit]:
    """A key describes the example and carries nothing to learn, such as an id, a source, a date or a score."""
    yield from _hits(row, format, "metadata")


@format_check("reasoning_key", "error", SECTION, formats=_FORMATS, fix="inline_reasoning")
def reasoning_key(row: dict[str, Any], format: Format) -> Iterator[Hit]:
    """An assistant message has its reasoning in a key of its own (`reasoning_content`), for which the format has no
    place.
    """
    yield from _hits(row, format, "reasoning")


@format_check("unknown_key", "error", SECTION, formats=("chat", "preference"), fix="drop_unknown_keys")
def unknown_key(row: dict[str, Any], format: Format) -> Iterator[Hit]:
    """A row has a key that its format does not have, with text or an instruction that a fix cannot move."""
    yield from _hits(row, format, "unknown", in_message=False)


@format_check("message_unknown_key", "error", SECTION, formats=_FORMATS, fix="drop_unknown_keys")
def message_unknown_key(row: dict[str, Any], format: Format) -> Iterator[Hit]:
    """A message has a key that the format does not have, with text or an instruction that a fix cannot move."""
    yield from _hits(row, format, "unknown", in_message=True)


def _hits(row: dict[str, Any], format: Format, fate: Fate, *, in_message: bool | None = None) -> Iterator[Hit]:
    for each in _last.keys_of(row, format):
        if each.fate == fate and in_message in (None, each.in_message):
            yield Hit(each.pointer, each.value, f"{advice(each, format)}.")


class _Last:
    """The keys of the row that was asked for last, since several checks ask for the same row one after the other."""

    def __init__(self) -> None:
        self._found: tuple[dict[str, Any], Format, list[OtherKey]] | None = None

    def keys_of(self, row: dict[str, Any], format: Format) -> list[OtherKey]:
        found = self._found
        if found is None or found[0] is not row or found[1] != format:
            found = self._found = (row, format, other_keys(row, format))
        return found[2]


_last = _Last()
