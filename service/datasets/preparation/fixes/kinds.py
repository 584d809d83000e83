"""The shapes of fixes.

A row fix is a function of one row. A file fix looks at all rows first, and answers the function of a numbered row that
mends them, or None where its check would find nothing. Both leave a row alone by returning it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from service.catalogue.tokens import ModelFacts
from service.datasets.preparation.changes import Dropped
from service.datasets.preparation.scratch import Numbered, Row
from service.datasets.report_schema import Format

RowFix: TypeAlias = Callable[[Row, Format], Row | Dropped]
NumberedFix: TypeAlias = Callable[[int, Row], Row | Dropped]
FileFix: TypeAlias = Callable[[Iterable[Numbered], Format, ModelFacts], NumberedFix | None]
