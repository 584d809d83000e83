"""Drops examples that are identical to an earlier one, whatever the order of their keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from service.catalogue.tokens import ModelFacts
from service.datasets.preparation.changes import Dropped
from service.datasets.preparation.fixes.kinds import NumberedFix
from service.datasets.preparation.scratch import NumberedRow, Row
from service.datasets.report_schema import Format

_KEY_BYTES = 8


def drop_duplicates(rows: Iterable[NumberedRow], format: Format, model: ModelFacts) -> NumberedFix | None:
    """Keeps the first of identical examples. Memory: a 64-bit number and a line number for each example."""
    seen: dict[int, int] = {}

    def keep_first(line: int, row: Row) -> Row | Dropped:
        first = seen.setdefault(_key(row), line)
        return row if first == line else Dropped(f"The same as line {first}.")

    return keep_first


def _key(row: Row) -> int:
    """A 64-bit hash of the row's canonical JSON. Among a million rows the odds of a collision are 1 to 37 million."""
    try:
        canonical = msgspec.json.encode(row, order="sorted")
    except (TypeError, ValueError, msgspec.MsgspecError):
        canonical = repr(sorted(row.items())).encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(canonical, digest_size=_KEY_BYTES).digest(), "big")
