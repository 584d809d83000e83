"""Prodigy's annotations: `{"text": …, "label": …, "answer": "accept"}`, or options with those that were accepted.

Source of the shape: Prodigy's reference of its interfaces `classification`, `choice` and `text_input`.
"""

from __future__ import annotations

from service.datasets.shapes.annotations import answered
from service.datasets.shapes.building import any_object
from service.datasets.shapes.registry import CannotConvert, NoExample, Row, Shape, register

_ANSWERS = ("accept", "reject", "ignore")


def _recognises(row: Row) -> bool:
    marked = row.keys() & {"_input_hash", "_task_hash", "accept", "label", "spans", "user_input"}
    return row.get("answer") in _ANSWERS and isinstance(row.get("text"), str) and bool(marked)


def _convert(row: Row) -> list[Row]:
    if row["answer"] != "accept":
        raise NoExample(f"Its annotator answered {row['answer']!r}.")
    accepted = row.get("accept")
    if isinstance(accepted, list):
        if not accepted:
            raise NoExample("Its annotator accepted none of the options.")
        texts = {str(option.get("id")): option.get("text") for option in any_object(row.get("options"))}
        return answered(row["text"], ", ".join(str(texts.get(str(id)) or id) for id in accepted))
    for key in ("user_input", "label"):
        if isinstance(row.get(key), str) and row[key]:
            return answered(row["text"], row[key])
    raise CannotConvert("its annotation is neither a label, an option nor a text; places in the text are no answers")


PRODIGY = register(
    Shape(
        name="prodigy",
        title="Prodigy's annotations",
        keys="`text` and `answer`, which is accept, reject or ignore",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        structure=frozenset({"answer"}),
        note="Rejected and ignored rows are dropped. Several accepted options are joined by commas.",
    )
)
