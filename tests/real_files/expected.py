"""What the report finds in each file, and what a preparation with the safe fixes makes of it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Expected(NamedTuple):
    """`errors` are the codes of the report's errors. Of the preparation: the shape, the format and the number of
    examples, the first example, and the places of values that are in no example. `refused` is a part of the message
    with which it stops instead.
    """

    errors: dict[str, int]
    shape: str | None = None
    format: str | None = None
    examples: int = 0
    first: dict[str, Any] | None = None
    unused: tuple[str, ...] = ()
    refused: str = ""
    notes: str = ""


def chat(*turns: tuple[str, str]) -> dict[str, Any]:
    """A chat example of (role, content) pairs."""
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


EXPECTED: dict[str, Expected] = {
    "sharegpt.jsonl": Expected(
        {"other_shape": 1},
        shape="sharegpt",
        format="chat",
        examples=2,
        first=chat(
            ("system", "You are the desk of the town hall."),
            ("user", "When does the office open?"),
            ("assistant", "At eight o'clock."),
        ),
        unused=("/id",),
    ),
    "unnamed_parts.csv": Expected({"table_file": 1}, refused="No column's name says that it holds the answer"),
}
