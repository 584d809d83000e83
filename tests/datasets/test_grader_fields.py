"""Which fields of a row a grader's templates read."""

from __future__ import annotations

from service.datasets.checks.reinforcement import grader_fields, missing_grader_fields

GRADER = {
    "type": "multi",
    "graders": {
        "exact": {
            "type": "string_check",
            "input": "{{ sample.output_text }}",
            "reference": "{{item.reference_answer}}",
        },
        "judge": {
            "type": "score_model",
            "input": [{"role": "user", "content": "Topic {{ item.topic }}: {{ item.topic }}"}],
        },
    },
}


def test_fields_of_nested_templates() -> None:
    assert grader_fields(GRADER) == {"reference_answer", "topic"}
    assert grader_fields(None) == set()


def test_missing_fields() -> None:
    assert missing_grader_fields(GRADER, {"messages": 3, "reference_answer": 3, "topic": 2}, 3) == ["topic"]
    assert missing_grader_fields(GRADER, {"reference_answer": 3, "topic": 3}, 3) == []
