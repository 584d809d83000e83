"""Dropping examples that the model's limit of tokens would cut, counted as the report counts them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from service.datasets.accounting import Accounting
from service.datasets.findings import Findings
from service.datasets.formats import read_example, same_format
from service.datasets.prepare.changes import Dropped
from service.datasets.prepare.fixes.kinds import NumberedFix
from service.datasets.prepare.scratch import Numbered
from service.datasets.report_schema import Format
from service.datasets.tokens import ModelFacts, counter

_BATCH = 256


def drop_over_limit(rows: Iterable[Numbered], format: Format, model: ModelFacts) -> NumberedFix | None:
    """Removes examples with more tokens than the model takes: their end, the answer, would be cut off."""
    over = set(_lines_over_limit(rows, format, model))
    if not over:
        return None
    reason = f"It has more than the {model.max_tokens:,} tokens that {model.name} takes."
    return lambda line, row: Dropped(reason) if line in over else row


def _lines_over_limit(rows: Iterable[Numbered], format: Format, model: ModelFacts) -> Iterator[int]:
    tokens, rest = counter(model.encoding), iter(rows)
    while batch := list(islice(rest, _BATCH)):
        findings = Findings(listed_per_code=_BATCH)
        sums = Accounting(model, tokens, findings)
        examples = [read_example(line, row, format) for line, row in batch if same_format(row, format)]
        texts = sums.texts_of(examples)
        sums.add(examples, texts, tokens.count_all(texts))
        yield from (finding.line for finding in findings.listed() if finding.code == "over_token_limit")
