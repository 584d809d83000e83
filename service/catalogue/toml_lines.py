"""Finds the lines of a models file on which an entry begins and on which its keys are, for messages.

The parser of the standard library keeps no positions. This reads headers and keys at the beginnings of lines, which
is how such files are written; an entry that is written otherwise is reported without a line.
"""

import re

_ENTRY = re.compile(r"\s*\[\[\s*models\s*\]\]")
_TABLE = re.compile(r"\s*\[")
_KEY = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*[.=]""")
_SUBTABLE = re.compile(r"\s*\[{1,2}\s*models\s*\.\s*([A-Za-z0-9_-]+)")


class TomlLines:
    """The lines of the entries `[[models]]` of a file, counted from 1."""

    def __init__(self, text: str) -> None:
        self._top: dict[str, int] = {}
        self._entries: list[int] = []
        self._keys: list[dict[str, int]] = []
        keys: dict[str, int] | None = self._top
        for number, line in enumerate(text.splitlines(), start=1):
            if _ENTRY.match(line):
                keys = {}
                self._entries.append(number)
                self._keys.append(keys)
            elif _TABLE.match(line):
                subtable = _SUBTABLE.match(line)
                if subtable is not None and self._keys:
                    self._keys[-1].setdefault(subtable[1], number)
                    keys = None
            elif keys is not None and (key := _KEY.match(line)):
                keys.setdefault(key[1], number)

    def of_entry(self, index: int, key: str = "") -> int | None:
        """The line of a key of an entry, or of the entry's beginning if the key has no line of its own."""
        if index >= len(self._entries):
            return self._top.get("models")
        return self._keys[index].get(key, self._entries[index])

    def of_key(self, key: str) -> int | None:
        """The line of a key above all entries."""
        return self._top.get(key)
