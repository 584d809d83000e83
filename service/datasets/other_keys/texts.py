"""The text of a value in the notations of several tools: a string, or a list of texts and text parts."""

from __future__ import annotations

from typing import Any

_BESIDE_TEXT: dict[str, tuple[Any, ...]] = {
    "type": ("text", None),
    "role": ("system", "developer", "user", "model", "assistant", None),
    "cache_control": ({"type": "ephemeral"}, None),
}
"""What may stand beside a text without saying anything that the text does not."""

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
            if key in value and all(each == key or said in _BESIDE_TEXT.get(each, ()) for each, said in value.items()):
                return text_in(value[key])
    return None
