"""Cases of the checks in the section Preference."""

from __future__ import annotations

from tests.datasets.cases.material import Case
from tests.datasets.rows import (
    jsonl,
    message,
    pair,
)

CASES: dict[str, list[Case]] = {
    "preference_fields": [
        Case(jsonl(pair(), {"input": pair()["input"]}), 2, "/preferred_output", jsonl(pair())),
    ],
    "preference_input": [
        Case(jsonl(pair(), {**pair(), "input": "Why?"}), 2, "/input", jsonl(pair())),
        Case(jsonl(pair(), {**pair(), "input": {"messages": []}}), 2, "/input/messages", jsonl(pair())),
    ],
    "preference_output": [
        Case(jsonl(pair(), {**pair(), "preferred_output": []}), 2, "/preferred_output", jsonl(pair())),
        Case(
            jsonl(pair(), {**pair(), "non_preferred_output": [message("user")]}),
            2,
            "/non_preferred_output/0/role",
            jsonl(pair()),
        ),
    ],
    "preference_identical": [Case(jsonl(pair(), pair("Same.", "Same.")), 2, "/preferred_output", jsonl(pair()))],
    "preference_input_ends_with_answer": [
        Case(
            jsonl(pair(), {**pair(), "input": {"messages": [message("user"), message("assistant")]}}),
            2,
            "/input/messages/1/role",
            jsonl(pair()),
        )
    ],
    "preference_length_bias": [
        Case(
            jsonl(*[pair(f"A long and thorough answer {index}.", "No.") for index in range(30)]),
            1,
            "",
            jsonl(*[pair(f"Yes {index}.", f"Not {index}.") for index in range(30)]),
        )
    ],
}
