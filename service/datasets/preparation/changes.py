"""The diff of a preparation: a record for every row that was changed or dropped, by which fix, before and after.

Excerpts are masked as a report's are. A change's id says where its record begins, so that a page of changes is read
without those before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, BinaryIO, Literal, NamedTuple

import msgspec

from service.datasets.excerpts import excerpt, mask_secrets

ID_PREFIX = "change-"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `line` is the line of the input (of a table its row, of a JSON array its item), from 1.

    `before` and `after` are excerpts of the first text that differs; of a dropped row `after` is null.
    """

    id: str
    object: Literal["dataset_preparation.change"] = "dataset_preparation.change"
    line: int
    fix: str
    action: Literal["changed", "dropped"]
    pointer: str
    before: str | None
    after: str | None
    reason: str | None


class Dropped(NamedTuple):
    """What a fix answers instead of a row: it goes, for this reason."""

    reason: str


class ChangeLog:
    """Counts changes by fix, and writes each as a line of JSON to `out`."""

    def __init__(self, out: BinaryIO) -> None:
        self.counts: Counter[str] = Counter()
        self._out = out
        self._offset = 0

    def changed(self, fix: str, line: int, before: Any, after: Any) -> None:
        """Notes a changed row, value, or text."""
        pointer, old, new = first_difference(before, after)
        at = _first_char(old, new)
        self._write(fix, line, "changed", pointer, _shown(old, at), _shown(new, at), None)

    def dropped(self, fix: str, line: int, before: Any, reason: str) -> None:
        """Notes a row that is not in the output."""
        self._write(fix, line, "dropped", "", _shown(before, 0), None, reason)

    def _write(
        self,
        fix: str,
        line: int,
        action: Literal["changed", "dropped"],
        pointer: str,
        before: str | None,
        after: str | None,
        reason: str | None,
    ) -> None:
        self.counts[fix] += 1
        change = Change(
            id=change_id(self._offset),
            line=line,
            fix=fix,
            action=action,
            pointer=mask_secrets(pointer),
            before=before,
            after=after,
            reason=reason,
        )
        record = msgspec.json.encode(change) + b"\n"
        self._out.write(record)
        self._offset += len(record)


def change_id(offset: int) -> str:
    """The id of the change whose record begins at a byte."""
    return f"{ID_PREFIX}{offset:012x}"


def change_offset(id: str) -> int | None:
    """Where the record of a change begins; None for what is no change's id."""
    digits = id.removeprefix(ID_PREFIX)
    if len(digits) != 12 or id == digits or not set(digits) <= set("0123456789abcdef"):
        return None
    return int(digits, 16)


def first_difference(before: Any, after: Any, pointer: str = "") -> tuple[str, Any, Any]:
    """The first place (RFC 6901) where two JSON values differ, and what each has there (None: nothing)."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            if before.get(key) != after.get(key) or (key in before) != (key in after):
                place = f"{pointer}/{key[:80].replace('~', '~0').replace('/', '~1')}"
                return first_difference(before.get(key), after.get(key), place)
    if isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            one, other = _item(before, index), _item(after, index)
            if one != other:
                return first_difference(one, other, f"{pointer}/{index}")
    return pointer, before, after


def _item(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else None


def _first_char(before: Any, after: Any) -> int:
    if not isinstance(before, str) or not isinstance(after, str):
        return 0
    pairs: Iterable[tuple[str, str]] = zip(before, after, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after)))


def _shown(value: Any, at: int) -> str | None:
    return None if value is None else excerpt(value, at)
