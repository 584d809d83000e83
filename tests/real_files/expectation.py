"""What is expected of one file."""

from __future__ import annotations

from typing import Any, NamedTuple


class Expected(NamedTuple):
    """`errors` are the codes of the report's errors. Of the preparation: the shape, the format and the number of
    examples, the first example, and the places of values that are in no example. `refused` is a part of the message
    with which it stops instead; `said` is a part of the report's first error.
    """

    errors: dict[str, int]
    shape: str | None = None
    format: str | None = None
    examples: int = 0
    first: dict[str, Any] | None = None
    unused: tuple[str, ...] = ()
    refused: str = ""
    notes: str = ""
    said: str = ""


def chat(*turns: tuple[str, str]) -> dict[str, Any]:
    """A chat example of (role, content) pairs."""
    return {"messages": [{"role": role, "content": content} for role, content in turns]}
