"""Lists and objects that were written as a text: JSON in a cell, or Python's notation as pandas writes it."""

from __future__ import annotations

import ast
import json
import tokenize
from typing import Any

from service.datasets.shapes.numpy_notation import as_lists

MAX_LEVELS = 100
"""As in a line of JSON."""

MAX_PYTHON_CHARS = 1 << 20
"""The length up to which a text is read as Python's notation, which takes much more memory than JSON."""


def parsed(value: Any) -> Any:
    """The list or object that a text contains; any other value as it is."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("array(") and text.endswith(")"):
        return found if (found := _python_literal(text)) is not None else value
    if not (text.startswith("[") and text.endswith("]")) and not (text.startswith("{") and text.endswith("}")):
        return value
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = _python_literal(text)
    return found if isinstance(found, (list, dict)) and _is_flat(found) else value


def _is_flat(value: Any) -> bool:
    """Whether a value has few enough levels for functions that descend into it."""
    level = [value]
    for _ in range(MAX_LEVELS):
        level = [
            inner
            for each in level
            if isinstance(each, (list, dict))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return True
    return False


def _python_literal(text: str) -> Any:
    if len(text) > MAX_PYTHON_CHARS or "'" not in text:
        return None
    return _literal(text) or _literal(text, numpy=True)


def _literal(text: str, *, numpy: bool = False) -> Any:
    try:
        found = ast.literal_eval(as_lists(text) if numpy else text)
        return json.loads(json.dumps(found, allow_nan=False))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
        return None
