"""What the report finds in each file, and what a preparation with the safe fixes makes of it."""

from __future__ import annotations

from tests.real_files import layouts, providers_and_exports, tables, training_tools
from tests.real_files.expectation import Expected, chat

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
    "training_tool_keys.jsonl": Expected(
        {"other_notation": 8, "metadata_key": 4, "assistant_missing": 1},
        format="chat",
        examples=2,
        first={
            "messages": [
                {"role": "system", "content": "You are the desk of the town hall."},
                {"role": "user", "content": "When does the office open?"},
                {"role": "assistant", "content": "At noon.", "weight": 0},
                {"role": "user", "content": "Are you sure?"},
                {"role": "assistant", "content": "At eight o'clock.", "weight": 1},
            ]
        },
        unused=("/id", "/source"),
    ),
    "unnamed_parts.csv": Expected({"table_file": 1}, refused="No column's name says that it holds the answer"),
    **layouts.EXPECTED,
    **providers_and_exports.EXPECTED,
    **tables.EXPECTED,
    **training_tools.EXPECTED,
}
