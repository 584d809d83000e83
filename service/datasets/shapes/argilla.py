"""Argilla's records: `fields` with the `responses` and `suggestions` to each question.

Source of the shape: Argilla's reference of records (version 2), and of feedback records (version 1), whose responses
are a list of `values` with a `status`.
"""

from __future__ import annotations

from typing import Any

from service.datasets.shapes.annotations import MAJORITY, answer_of, answered, majority, question_of
from service.datasets.shapes.building import any_object
from service.datasets.shapes.registry import CannotConvert, NoExample, Row, Shape, register


def _recognises(row: Row) -> bool:
    return isinstance(row.get("fields"), dict) and ("responses" in row or "suggestions" in row)


def _responses(row: Row) -> tuple[dict[str, list[Any]], int]:
    """The submitted values of each question, and how many responses were discarded."""
    answers: dict[str, list[Any]] = {}
    discarded = 0
    responses = row.get("responses")
    if isinstance(responses, dict):
        pairs = [(name, each) for name, given in responses.items() for each in any_object(given)]
        for name, each in pairs:
            if each.get("status", "submitted") == "submitted":
                answers.setdefault(name, []).append(each.get("value"))
            else:
                discarded += 1
    for each in any_object(responses):
        if each.get("status", "submitted") != "submitted" or not isinstance(each.get("values"), dict):
            discarded += 1
            continue
        for name, value in each["values"].items():
            answers.setdefault(name, []).append(value.get("value") if isinstance(value, dict) else value)
    return answers, discarded


def _suggestions(row: Row) -> dict[str, list[Any]]:
    given = row.get("suggestions")
    if isinstance(given, dict):
        return {name: [each.get("value") if isinstance(each, dict) else each] for name, each in given.items()}
    return {str(each.get("question_name")): [each.get("value")] for each in any_object(given)}


def _convert(row: Row) -> list[Row]:
    answers, discarded = _responses(row)
    if not answers and discarded:
        raise NoExample("Its annotators discarded it, or did not submit their answer.")
    answers = answers or _suggestions(row)
    if not answers:
        raise NoExample("It has neither a response nor a suggestion.")
    label = majority([_text(value) for value in answer_of(answers)])
    return answered(question_of(row["fields"]), label)


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, (str, int, float)) for item in value):
        return ", ".join(map(str, value))
    if isinstance(value, (str, int, float)):
        return str(value)
    raise CannotConvert("a response is neither a text nor a label")


ARGILLA = register(
    Shape(
        name="argilla",
        title="Argilla's records",
        keys="`fields` with `responses` or `suggestions`",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        structure=frozenset({"status", "question_name"}),
        note=f"{MAJORITY} A suggestion is used for records without a response.",
    )
)
