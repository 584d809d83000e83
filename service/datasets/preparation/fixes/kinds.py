"""The function types of fixes.

A row fix changes one row. A file fix reads all rows first, and returns the function that changes a numbered row, or
None if its check would find nothing. Both return a row as it is to leave it unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from service.catalogue.tokens import ModelFacts
from service.datasets.preparation.changes import Changed, Dropped, Refused
from service.datasets.preparation.scratch import NumberedRow, Row
from service.datasets.report_schema import Format

RowFix: TypeAlias = Callable[[Row, Format], Row | Changed | Dropped | Refused]
NumberedFix: TypeAlias = Callable[[int, Row], Row | Dropped]
FileFix: TypeAlias = Callable[[Iterable[NumberedRow], Format, ModelFacts], NumberedFix | None]
