"""Recognises by their first lines files of JSON that are not JSON Lines, although no value goes on in the next line.

Such are objects side by side or with commas behind them, record separators (RFC 7464), line breaks that were written as
two characters, objects inside strings, and an array on each line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

Layout = Literal["side by side", "commas", "separators", "written line breaks", "encoded twice", "arrays"]

DESCRIPTIONS: dict[Layout, str] = {
    "side by side": "Several objects stand on one line",
    "commas": "A comma stands behind each object",
    "separators": "A record separator (U+001E) stands before each object",
    "written line breaks": "Objects are separated by \\n, written as two characters",
    "encoded twice": "Each row is an object inside a string: it was encoded twice",
    "arrays": "Each line is an array: the messages of a conversation, or the cells of a row",
}
_MAX_LINE_BYTES = 1 << 20
_GAP = re.compile(r"\s*+(?:(\\[nr])|(\x1e)|(,\s*+(?=\{))|(,\s*+\Z)|(?=\{))")
_GAPS: tuple[Layout, ...] = ("written line breaks", "separators", "side by side", "commas")
_DECODER = json.JSONDecoder()


def layout_of(lines: Sequence[bytes]) -> Layout | None:
    """How the first lines of a file are laid out; None for JSON Lines, for other files and where few lines differ."""
    if not lines:
        return None
    if is_encoded_twice(lines[0]):
        return "encoded twice"
    if are_arrays(lines):
        return "arrays"
    found = [layout for line in lines if (layout := _layout_of_line(line)) is not None]
    return found[0] if 2 * len(found) > len(lines) else None


def is_encoded_twice(line: bytes) -> bool:
    """Whether a line is a JSON string whose text is an object or an array."""
    text = line.strip()
    if not text.startswith((b'"{', b'"[', b'" ', b'"\\')) or len(text) > _MAX_LINE_BYTES:
        return False
    inner = _decoded(text.rstrip(b", "))
    return isinstance(inner, str) and inner.lstrip().startswith(("{", "[")) and _decoded(inner) is not None


def are_arrays(lines: Sequence[bytes]) -> bool:
    """Whether each of several lines is a whole array: of the messages of one conversation, or of the cells of a row."""
    if len(lines) < 2 or not all(line.strip().startswith(b"[") for line in lines):
        return False
    return all(_is_row(_decoded(line)) for line in lines)


def _layout_of_line(line: bytes) -> Layout | None:
    """What separates the object at the start of a line from what follows or comes before it."""
    text = line[:_MAX_LINE_BYTES].decode("utf-8", "replace").strip(" \t\r\n")
    bare = text.lstrip("\x1e")
    if not bare.startswith("{"):
        return None
    try:
        _, end = _DECODER.raw_decode(bare)
    except (ValueError, RecursionError):
        return None
    gap = _GAP.match(bare, end)
    if gap is None:
        return "separators" if bare != text and not bare[end:].strip() else None
    return _GAPS[(gap.lastindex or 3) - 1]


def _is_row(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    if all(isinstance(item, dict) for item in value):
        return all({"role", "from"} & item.keys() for item in value)
    return not any(isinstance(item, (dict, list)) for item in value)


def _decoded(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
