"""The changes of a preparation: one record for every row that a fix changed or dropped, with excerpts.

Excerpts are masked as those of a report are. The id of a change contains the offset of its record, so that a page of
changes is read without the records before it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, BinaryIO, Literal, NamedTuple

import msgspec

from service.datasets.excerpts import excerpt, mask_secrets

ID_PREFIX = "change-"
MAX_REASONS = 50
MAX_REASON_CHARS = 300
_FURTHER = "(further reasons)"
_NUMBER = re.compile(r"\d+(?:,\d+)*")
IT_IS_AT = " It is at: "
"""Begins the excerpt in the reason for a row that is not JSON; `drop_reasons` counts such rows without it."""

BLANK = "drop_blank_lines"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `line` is the 1-based line of the input; in a table the row, in a JSON array the item.

    `before` and `after` are excerpts of the first text that differs; of a dropped row `after` is null. `reason` says
    why a row was dropped, or where a value was moved to.
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
    """Returned by a fix instead of a row: the row is dropped for this reason."""

    reason: str


class Changed(NamedTuple):
    """Returned by a fix instead of a row where the difference does not speak for itself: the row, and what was done."""

    row: dict[str, Any]
    reason: str


class Refused(NamedTuple):
    """Returned by a fix instead of a row: what is wrong with the row, and the choices. The preparation stops."""

    reason: str


class ChangeLog:
    """Counts changes by fix, and writes each change to `out` as a line of JSON.

    `rows_dropped` counts by fix the rows that are not in the output, and `drop_reasons` by reason, of which it has
    `MAX_REASONS`; a blank line is no row.
    """

    def __init__(self, out: BinaryIO) -> None:
        self.counts: Counter[str] = Counter()
        self.rows_dropped: Counter[str] = Counter()
        self.drop_reasons: Counter[str] = Counter()
        self._out = out
        self._offset = 0

    def changed(self, fix: str, line: int, before: Any, after: Any, reason: str | None = None) -> None:
        """Record a changed row, value, or text, and what was done if that needs words."""
        pointer, old, new = first_difference(before, after)
        at = _first_char(old, new)
        self._write(fix, line, "changed", pointer, _excerpt(old, at), _excerpt(new, at), reason)

    def dropped(self, fix: str, line: int, before: Any, reason: str) -> None:
        """Record a row that is not in the output."""
        if fix != BLANK:
            self.rows_dropped[fix] += 1
            general = mask_secrets(_NUMBER.sub("…", reason.partition(IT_IS_AT)[0])[:MAX_REASON_CHARS])
            known = general in self.drop_reasons or len(self.drop_reasons) < MAX_REASONS
            self.drop_reasons[general if known else _FURTHER] += 1
        self._write(fix, line, "dropped", "", _excerpt(before, 0), None, reason)

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
    """The id of the change whose record begins at this byte."""
    return f"{ID_PREFIX}{offset:012x}"


def change_offset(id: str) -> int | None:
    """The byte at which the record of a change begins; None for a text that is not the id of a change."""
    digits = id.removeprefix(ID_PREFIX)
    if len(digits) != 12 or id == digits or not set(digits) <= set("0123456789abcdef"):
        return None
    return int(digits, 16)


def first_difference(before: Any, after: Any, pointer: str = "") -> tuple[str, Any, Any]:
    """The JSON pointer (RFC 6901) of the first difference of two values, and both values there (None if absent)."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            if _differ(before.get(key), after.get(key)) or (key in before) != (key in after):
                place = f"{pointer}/{key[:80].replace('~', '~0').replace('/', '~1')}"
                return first_difference(before.get(key), after.get(key), place)
    if isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            one, other = _item(before, index), _item(after, index)
            if _differ(one, other):
                return first_difference(one, other, f"{pointer}/{index}")
    return pointer, before, after


def _differ(one: Any, other: Any) -> bool:
    """Whether two values differ as JSON, in which true is not 1."""
    return one != other or (not isinstance(one, str) and repr(one) != repr(other))


def _item(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else None


def _first_char(before: Any, after: Any) -> int:
    if not isinstance(before, str) or not isinstance(after, str):
        return 0
    pairs: Iterable[tuple[str, str]] = zip(before, after, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(before), len(after)))


def _excerpt(value: Any, at: int) -> str | None:
    return None if value is None else excerpt(value, at)
