"""The message of a refusal for a row that cannot be read. A refusal has no excerpt of its own, as a finding has."""

from __future__ import annotations

from collections.abc import Iterable

from service.datasets.excerpts import excerpt
from service.datasets.parsing.decode import Fault
from service.datasets.preparation.changes import IT_IS_AT

_SHORT_CHARS = 80
_SHOWN_CHARS = 60


def why_faulty(text: str, faults: Iterable[Fault]) -> str:
    """The faults of a row, with what stands there if the row is too long to count characters in."""
    said = []
    for fault in faults:
        near = ""
        if fault.code == "invalid_json" and len(text) > _SHORT_CHARS:
            near = f"{IT_IS_AT}{excerpt(text, fault.at)[:_SHOWN_CHARS]}"
        said.append(f"{fault.message.rstrip('.')}.{near}" if near else fault.message)
    return "; ".join(said)
