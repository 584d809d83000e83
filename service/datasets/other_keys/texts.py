"""The text of a value in the notations of several tools: a string, or a list of texts and text parts."""

from __future__ import annotations

from typing import Any

from service.datasets.other_keys.names import plain_name

_BESIDE_TEXT = frozenset({"type", "text", "cache_control", "role", "index"})
SEPARATOR = "\n\n"


def text_in(value: Any) -> str | None:
    """The text of a string, of a text part (`{"text": …}`), of `{"parts": […]}` and `{"content": …}`, or of a list of
    them, joined by blank lines; None for any other value.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        texts = [text_in(each) for each in value if each]
        return SEPARATOR.join(text for text in texts if text is not None) if None not in texts else None
    if isinstance(value, dict):
        for key in ("text", "parts", "content"):
            if key in value and {plain_name(each) for each in value} <= _BESIDE_TEXT | {key}:
                return text_in(value[key]) if value.get("type", "text") == "text" else None
    return None
