"""Drops examples that are identical to an earlier one, whatever the order of their keys."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable

import msgspec

from service.catalogue.tokens import ModelFacts
from service.datasets.parsing.formats import same_format
from service.datasets.preparation.changes import Dropped
from service.datasets.preparation.fixes.kinds import NumberedFix
from service.datasets.preparation.scratch import NumberedRow, Row
from service.datasets.report_schema import Format

_KEY_BYTES = 8


def drop_duplicates(rows: Iterable[NumberedRow], format: Format, model: ModelFacts) -> NumberedFix | None:
    """Keeps the first of identical examples. Memory: two 64-bit numbers for each example, and two for each dropped."""
    from service.datasets.duplicates.exact import exact_duplicates  # numpy is slow to import

    keys, lines = array("q"), array("Q")
    for line, row in rows:
        if same_format(row, format):
            keys.append(_key(row))
            lines.append(line)
    repeated, firsts = array("Q"), array("Q")
    for place, first in exact_duplicates(keys):
        repeated.append(lines[place])
        firsts.append(lines[first])
    if not repeated:
        return None

    def keep_first(line: int, row: Row) -> Row | Dropped:
        place = bisect_left(repeated, line)
        if place == len(repeated) or repeated[place] != line:
            return row
        return Dropped(f"The same as line {firsts[place]}.")

    return keep_first


def _key(row: Row) -> int:
    """A 64-bit hash of the row's canonical JSON. Among a million rows the odds of a collision are 1 to 37 million."""
    try:
        canonical = msgspec.json.encode(row, order="sorted")
    except (TypeError, ValueError, msgspec.MsgspecError):
        canonical = repr(sorted(row.items())).encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(canonical, digest_size=_KEY_BYTES).digest(), "big", signed=True)
