"""Cases of the checks in the section Reinforcement."""

from __future__ import annotations

from tests.datasets.cases.material import Case
from tests.datasets.rows import (
    asked,
    chat,
    graded,
    jsonl,
    message,
)

CASES: dict[str, list[Case]] = {
    "reinforcement_last_message": [
        Case(
            jsonl(graded(), graded(), {"messages": [message("user"), message("assistant")], "reference_answer": "4"}),
            3,
            "/messages/1/role",
            jsonl(graded()),
        )
    ],
    "reinforcement_nothing_to_grade": [
        Case(jsonl(graded(), graded(), {"messages": [message("user")]}), 3, "", jsonl(graded())),
        Case(jsonl(*[chat(message("user", f"Question {at}?")) for at in range(3)], asked()), 1, "", jsonl(asked())),
    ],
    "reinforcement_field_missing": [
        Case(
            jsonl(*[graded(topic="sums") for _ in range(19)], graded()),
            20,
            "",
            jsonl(*[graded(topic="sums") for _ in range(20)]),
        )
    ],
}
