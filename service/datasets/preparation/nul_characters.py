"""Removes NUL characters so that no two words become one."""

from __future__ import annotations

import re

_INTERLEAVED = re.compile("(?:[^\0]\0){3}")
"""UTF-16 that was read byte by byte has a NUL after every letter."""

_BETWEEN_WORDS = re.compile(r"(?<=[^\W_])\0+(?=[^\W_])")


def without_nul(text: str) -> str:
    """The text without NUL characters; between two words a space stands in their place."""
    if not _INTERLEAVED.search(text):
        text = _BETWEEN_WORDS.sub(" ", text)
    return text.replace("\0", "")
