"""The fix of texts that were decoded wrongly."""

from __future__ import annotations

from service.datasets.mojibake.diagnosis import first_sign, repaired
from service.datasets.preparation.changes import Dropped
from service.datasets.preparation.fixes.texts import each_text, texts_of, until_stable
from service.datasets.preparation.scratch import Row
from service.datasets.report_schema import Format


def repair_mojibake(row: Row, format: Format) -> Row | Dropped:
    """Reverses a wrong decoding, and restores C1 control characters, if the text is better for it. A row that still
    shows signs of a wrong decoding is dropped: its text is lost.
    """
    row = each_text(row, format, lambda text: until_stable(text, repaired))
    for text in texts_of(row, format):
        sign = first_sign(text)
        if sign is not None:
            return Dropped(f"A text was decoded wrongly, and what it was cannot be restored: {sign.excerpt!r}.")
    return row
