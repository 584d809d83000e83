"""Records that an unescaped line break divides: the lines that follow the first one are no faults of their own.

A line that ends inside a string leaves its record open. The next lines belong to it, until the string is closed or a
line begins like a record. Blocks of a file are read independently, so a block's first lines may belong to the record
that the block before leaves open. They are `leading` until the two are merged.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from service.datasets.excerpts import excerpt
from service.datasets.parsing.decode import Fault

MAX_RECORD_LINES = 100
"""The lines of one divided record that are taken together; later ones are reported one by one."""

_CODES = ("invalid_json", "not_an_object")
_QUOTES = re.compile(rb'(?<!\\)(?:\\\\)*+"')


class Leading(NamedTuple):
    """A faulty line at the start of a block. `closes` says that it closes an open string."""

    line: int
    fault: Fault
    closes: bool


class OpenRecords:
    """The state after some lines: the first lines if they are faulty, and how many lines the open record has so far.

    `lines` is None if no record is open. Lines are given in order, each with its faults.
    """

    def __init__(self) -> None:
        self.leading: list[Leading] = []
        self.lines: int | None = None
        self._at_start = True

    def add(self, number: int, data: bytes, faults: list[Fault]) -> list[Fault]:
        """The faults of a line that are its own."""
        alone = faults[0] if len(faults) == 1 and faults[0].code in _CODES else None
        odd = alone is not None and _odd_quotes(data)
        if alone is None or data.lstrip().startswith((b"{", b"[")):
            self._at_start = False
            self.lines = 1 if odd else None
            return faults
        if self._at_start and len(self.leading) < MAX_RECORD_LINES:
            short = alone._replace(value=excerpt(alone.value, alone.at), at=0)
            self.leading.append(Leading(number, short, odd))
            return []
        self._at_start = False
        return [] if self._belongs(odd) else faults

    def close(self) -> None:
        """A line that is no part of a record."""
        self._at_start = False
        self.lines = None

    def followed_by(self, later: OpenRecords) -> list[tuple[int, Fault]]:
        """Adds the state of the lines that follow. Returns the faults of their first lines that are their own."""
        own: list[tuple[int, Fault]] = []
        for line, fault, closes in later.leading:
            if not self._belongs(closes):
                own.append((line, fault))
        if not later._at_start:
            self.lines = later.lines
        self._at_start = False
        return own

    def _belongs(self, closes: bool) -> bool:
        if self.lines is None or self.lines >= MAX_RECORD_LINES:
            self.lines = None
            return False
        self.lines = None if closes else self.lines + 1
        return True


def _odd_quotes(data: bytes) -> bool:
    return len(_QUOTES.findall(data)) % 2 == 1
