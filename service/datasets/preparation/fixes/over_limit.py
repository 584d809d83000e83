"""Drops examples that exceed the token limit of the model, counted as in the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from service.catalogue.tokens import ModelFacts
from service.datasets.parsing.formats import Example, read_example, same_format
from service.datasets.preparation.changes import Dropped
from service.datasets.preparation.fixes.kinds import NumberedFix
from service.datasets.preparation.scratch import NumberedRow
from service.datasets.report.accounting import accounting_for
from service.datasets.report.findings import Findings
from service.datasets.report.token_totals import TokenTotals
from service.datasets.report_schema import Format


def drop_over_limit(rows: Iterable[NumberedRow], format: Format, model: ModelFacts) -> NumberedFix | None:
    """Drops examples with more tokens than the model accepts, since their end, the answer, would be cut off."""
    over = set(_lines_over_limit(rows, format, model))
    if not over:
        return None
    reason = f"It has more than the {model.max_tokens:,} tokens that {model.name} accepts."
    return lambda line, row: Dropped(reason) if line in over else row


def _lines_over_limit(rows: Iterable[NumberedRow], format: Format, model: ModelFacts) -> Iterator[int]:
    sums, accounting = TokenTotals(), None
    for line, row in rows:
        if not same_format(row, format):
            continue
        example = read_example(line, row, format)
        if model.tokenizer or _may_be_over(example, model.max_tokens):
            accounting = accounting or accounting_for(model)
            before = sums.examples_over_limit
            accounting.add([example], accounting.count([example]), sums, Findings(listed_per_code=0))
            if sums.examples_over_limit > before:
                yield line


def _may_be_over(example: Example, limit: int) -> bool:
    """False if even one token for each byte would fit, which is so for nearly all examples."""
    if example.definitions:
        return True
    texts = [piece.text for piece in example.pieces] + example.labels
    max_text_tokens = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return max_text_tokens + example.overhead + example.extra_overhead > limit
