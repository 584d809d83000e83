"""Label Studio's JSON export: tasks with `data` and `annotations`, whose results are choices, texts or a preference.

Source of the shape: Label Studio's guide to its task format, and its templates for classification, text generation and
pairwise comparison.
"""

from __future__ import annotations

from typing import Any

from service.datasets.shapes.annotations import MAJORITY, answered, majority, question_of
from service.datasets.shapes.building import any_object
from service.datasets.shapes.registry import CannotConvert, NoExample, Row, Shape, register

_PROMPTS = ("prompt", "question", "instruction", "input", "query", "text", "context")


def _annotations(row: Row) -> list[Row]:
    return any_object(row.get("annotations", row.get("completions")))


def _results(annotation: Row) -> list[Row]:
    return any_object(annotation.get("result"))


def _is_task(row: Row) -> bool:
    return isinstance(row.get("data"), dict) and isinstance(row.get("annotations", row.get("completions")), list)


def _is_pairwise(row: Row) -> bool:
    if not _is_task(row):
        return False
    return any(result.get("type") == "pairwise" for each in _annotations(row) for result in _results(each))


def _recognises(row: Row) -> bool:
    return _is_task(row) and not _is_pairwise(row)


def _submitted(row: Row) -> list[Row]:
    """The annotations that count: the ground truth alone if there is one. Raises `NoExample`."""
    given = _annotations(row)
    counted = [each for each in given if not each.get("was_cancelled") and _results(each)]
    if not counted:
        raise NoExample("Its annotators skipped it." if given else "It has no annotation.")
    return [each for each in counted if each.get("ground_truth")] or counted


def _values(row: Row, kind: str) -> list[tuple[str, Any]]:
    """What was annotated and the values of one kind of result, of each annotation."""
    return [
        (str(result.get("to_name")), result["value"].get(kind))
        for each in _submitted(row)
        for result in _results(each)
        if result.get("type") == kind and isinstance(result.get("value"), dict)
    ]


def _convert(row: Row) -> list[Row]:
    data: Row = row["data"]
    kinds = {str(result.get("type")) for each in _submitted(row) for result in _results(each)}
    if choices := _values(row, "choices"):
        labels = [", ".join(map(str, value)) for _, value in choices if isinstance(value, list) and value]
        controls = {
            str(result.get("from_name")) for each in _submitted(row) for result in _results(each)
            if result.get("type") == "choices"
        }  # fmt: skip
        if len(controls) > 1:
            raise CannotConvert("annotators chose for several questions; export each question alone")
        return answered(question_of(data, choices[0][0]), majority(labels))
    if texts := _textareas(row):
        question = question_of(data, texts[0][0])
        return [made for text in dict.fromkeys(text for _, text in texts) for made in answered(question, text)]
    names = ", ".join(sorted(kinds))[:80]
    raise CannotConvert(f"annotations of type {names} are no answers; choices, textarea and pairwise are converted")


def _textareas(row: Row) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for each in _submitted(row):
        for result in _results(each):
            value = result.get("value")
            text = value.get("text") if isinstance(value, dict) and result.get("type") == "textarea" else None
            if text:
                whole = "\n".join(map(str, text)) if isinstance(text, list) else str(text)
                found.append((str(result.get("to_name")), whole))
    return found


def _convert_pairwise(row: Row) -> list[Row]:
    data: Row = row["data"]
    selected = [
        str(result["value"].get("selected"))
        for each in _submitted(row)
        for result in _results(each)
        if result.get("type") == "pairwise" and isinstance(result.get("value"), dict)
    ]
    better = majority(selected)
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    prompt = next((name for name in _PROMPTS if name in texts), None)
    sides = [value for name, value in texts.items() if name != prompt]
    if prompt is None or len(sides) != 2 or better not in ("left", "right"):
        raise CannotConvert("`data` needs a `prompt` and exactly two texts, of which the annotator selected one")
    chosen, rejected = sides if better == "left" else sides[::-1]
    return [
        {
            "input": {"messages": [{"role": "user", "content": texts[prompt]}]},
            "preferred_output": [{"role": "assistant", "content": chosen}],
            "non_preferred_output": [{"role": "assistant", "content": rejected}],
        }
    ]


_MIN_KEYS = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "comments"}
)


def _recognises_min(row: Row) -> bool:
    return "annotation_id" in row and ("annotator" in row or "lead_time" in row)


def _convert_min(row: Row) -> list[Row]:
    """The text that was annotated and the one label or text beside it."""
    texts = {key: value for key, value in row.items() if key not in _MIN_KEYS and isinstance(value, str) and value}
    question = question_of(texts)
    answers = [value for value in texts.values() if value != question]
    if not answers:
        raise NoExample("It has no annotation.")
    if len(answers) > 1:
        raise CannotConvert("it has several labels or texts; name the question and the answer in the option `columns`")
    return answered(question, answers[0])


_STRUCTURE = frozenset({"type", "from_name", "to_name", "selected"})

LABEL_STUDIO = register(
    Shape(
        name="label_studio",
        title="Label Studio's export",
        keys="`data` and `annotations`",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        structure=_STRUCTURE,
        note=f"{MAJORITY} Each different text that annotators wrote is an answer of its own.",
    )
)

LABEL_STUDIO_PAIRS = register(
    Shape(
        name="label_studio_pairs",
        title="Label Studio's export of comparisons",
        keys="`data` with two texts, and pairwise `annotations`",
        format="preference",
        recognises=_is_pairwise,
        convert=_convert_pairwise,
        structure=_STRUCTURE,
        note=f"{MAJORITY} The first of the two texts in `data` is the left one.",
    )
)

LABEL_STUDIO_MIN = register(
    Shape(
        name="label_studio_min",
        title="Label Studio's short export",
        keys="`annotation_id` and `annotator` beside a text and its label",
        format="chat",
        recognises=_recognises_min,
        in_tables=_recognises_min,
        convert=_convert_min,
    )
)
