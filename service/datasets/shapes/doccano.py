"""Doccano's JSONL export: `{"id": 1, "text": …, "label": [ … ]}`.

Source of the shape: Doccano's guide to exporting classifications and sequence to sequence projects.
"""

from __future__ import annotations

from typing import Any

from service.datasets.shapes.annotations import answered
from service.datasets.shapes.registry import CannotConvert, NoExample, Row, Shape, register


def _labels(row: Row) -> Any:
    return row.get("label", row.get("labels"))


def _recognises(row: Row) -> bool:
    return isinstance(row.get("text"), str) and isinstance(_labels(row), list)


def _convert(row: Row) -> list[Row]:
    labels = _labels(row)
    if not labels:
        raise NoExample("It has no label.")
    if not all(isinstance(label, str) for label in labels):
        raise CannotConvert("its labels are places in the text, which are no answers; add the answer as a text")
    return answered(row["text"], ", ".join(labels))


DOCCANO = register(
    Shape(
        name="doccano",
        title="Doccano's export",
        keys="`text` and a list of labels",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        note="Several labels of a text are joined by commas.",
    )
)
