"""NumPy's notation of arrays, which pandas writes into the cells of a CSV file, as lists of Python.

The items of an array of objects are written without commas between them, and an array inside another as
`array([…], dtype=object)`.
"""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator

_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")


def as_lists(text: str) -> str:
    """The text with its arrays as lists. Raises `tokenize.TokenError` or SyntaxError for a text that is not closed."""
    tokens = [token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.string.strip()]
    return " ".join(_with_commas(_without_arrays(tokens)))


def _without_arrays(tokens: list[str]) -> Iterator[str]:
    """Leaves `array(` and `, dtype=object)` out; an array has its brackets inside these."""
    open_brackets: list[bool] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if tokens[at : at + 2] == ["array", "("]:
            open_brackets.append(True)
            at += 2
            continue
        if tokens[at : at + 3] == [",", "dtype", "="]:
            at += 4
            continue
        at += 1
        if token in _OPENING:
            open_brackets.append(False)
        if token in _CLOSING and open_brackets and open_brackets.pop():
            continue
        yield token


def _with_commas(tokens: Iterator[str]) -> Iterator[str]:
    before = ""
    for token in tokens:
        if before in ("}", "]") and token in ("{", "["):
            yield ","
        yield token
        before = token
