"""Lists and objects that were written as a text: JSON in a cell, or Python's notation as pandas writes it."""

from __future__ import annotations

import ast
import json
from typing import Any

MAX_PYTHON_CHARS = 1 << 20
"""The length up to which a text is read as Python's notation, which takes much more memory than JSON."""


def parsed(value: Any) -> Any:
    """The list or object that a text contains; any other value as it is."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not (text.startswith("[") and text.endswith("]")) and not (text.startswith("{") and text.endswith("}")):
        return value
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = _python_literal(text)
    return found if isinstance(found, (list, dict)) else value


def _python_literal(text: str) -> Any:
    if len(text) > MAX_PYTHON_CHARS or "'" not in text:
        return None
    try:
        return json.loads(json.dumps(ast.literal_eval(text), allow_nan=False))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
