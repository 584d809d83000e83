"""Makes rows of the values in a JSON text: objects, also inside a string, conversations, arrays under a header."""

from __future__ import annotations

import json
from typing import Any

from service.datasets.parsing.decode import Fault, decode_line
from service.datasets.shapes.containers import conversation, is_conversation

_MAX_ENCODED = 3
_TWICE = "Rows that were encoded twice (an object inside a string) were decoded."
_CONVERSATIONS = "Each array of messages is a conversation: it became the `messages` or `conversations` of a row."
_HEADER = "The first array has the names of the columns; with the option `header` false it is a row."


class Items:
    """Reads one value after another as a row. `notes` says what was done to any of them.

    `header` is the option: whether the first array of arrays has the names of the columns, which is also the guess.
    """

    def __init__(self, notes: list[str], header: bool | None, *, max_values: int) -> None:
        self._max_values = max_values
        self._notes = notes
        self._header = header
        self.columns: list[str] | None = None

    def rows(self, text: bytes) -> tuple[list[dict[str, Any]], list[Fault]]:
        """The rows of a value, and its faults: none for a header, several for an array inside a string."""
        plain = self._decoded_twice(text)
        if not plain.startswith(b"["):
            return self._object(plain)
        held, faults = decode_line(b'{"":' + plain + b"}", 0, max_values=self._max_values)
        items = held[""] if held is not None else None
        if faults or not items:
            return self._object(plain)
        if is_conversation(items):
            self._note(_CONVERSATIONS)
            return [conversation(items)], []
        if plain is not text and all(isinstance(item, dict) for item in items):
            return items, []
        if self.columns is None:
            names = [item for item in items if isinstance(item, str) and item.strip()]
            if self._header is False:
                self.columns = [f"column_{place}" for place in range(1, len(items) + 1)]
            elif len(names) == len(set(names)) == len(items):
                self.columns = names
                self._note(_HEADER)
                return [], []
        if self.columns is None or len(items) > len(self.columns):
            return self._object(plain)
        return [dict(zip(self.columns, items, strict=False))], []

    def _object(self, text: bytes) -> tuple[list[dict[str, Any]], list[Fault]]:
        row, faults = decode_line(text, 0, max_values=self._max_values)
        return [row] if row is not None else [], faults

    def _decoded_twice(self, text: bytes) -> bytes:
        for _ in range(_MAX_ENCODED):
            if not text.startswith(b'"'):
                return text
            try:
                inner = json.loads(text)
            except ValueError:
                return text
            inner = inner.strip()
            if not inner.startswith(("{", "[", '"')):
                return text
            text = inner.encode("utf-8", "replace")
            self._note(_TWICE)
        return text

    def _note(self, sentence: str) -> None:
        if sentence not in self._notes:
            self._notes.append(sentence)
