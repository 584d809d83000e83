"""Finds the lines that contain a pattern, in one pass over the bytes of many lines.

The search uses Hyperscan if it is installed (several gigabytes per second), else Python's `re` (ten to forty times
slower). Patterns use only what works alike in both: bytes, no lookaround, no back references. Compiling a pattern
for Hyperscan takes some milliseconds, which is longer than `re` needs for a small file.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

COMPILED_FROM_BYTES = 256 << 10
_HYPERSCAN = find_spec("hyperscan") is not None

compiled: dict[bytes, Any] = {}
"""Hyperscan's databases by pattern, of the patterns that this process has compiled or that it was forked with."""


class Search:
    """Searches for one pattern. Another pattern that matches in the same lines can be given for `re`."""

    def __init__(self, pattern: bytes, *, for_re: bytes | None = None) -> None:
        self._pattern = _in_line(pattern)
        self._for_re = self._pattern if for_re is None else _in_line(for_re)

    def compile(self) -> None:
        """Compile the pattern now, so that small searches use Hyperscan too, as do processes forked from this one."""
        if _HYPERSCAN and self._pattern not in compiled:
            compiled[self._pattern] = _database(self._pattern)

    def ends(self, data: bytes) -> list[int]:
        """The end offset of every line that contains the pattern, ascending. Each line must end with a line feed."""
        if len(data) >= COMPILED_FROM_BYTES:
            self.compile()
        database = compiled.get(self._pattern)
        if database is None:
            return [found.end() for found in re.finditer(self._for_re, data)]
        ends: list[int] = []
        database.scan(data, match_event_handler=lambda _id, _start, end, _flags, _context: ends.append(end))
        return ends


def _in_line(pattern: bytes) -> bytes:
    return b"(?:" + pattern + rb")[^\n]*\n"


def _database(pattern: bytes) -> Any:
    import hyperscan

    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(expressions=[pattern], ids=[0], elements=1, flags=[0])
    return database
