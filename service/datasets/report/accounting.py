"""Chooses how the tokens of examples are counted for a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from service.catalogue.counting import counter_of
from service.catalogue.tokens import ModelFacts, TokenCounter
from service.datasets.parsing.formats import Example
from service.datasets.report.definition_tokens import definition_tokens
from service.datasets.report.findings import Findings
from service.datasets.report.token_accounting import TokenAccounting
from service.datasets.report.token_totals import TokenTotals


class Accounting(Protocol):
    """Counts the tokens of batches of examples and adds them up."""

    def count(self, examples: Sequence[Example]) -> list[list[int]]:
        """The number of tokens of the texts of every example."""

    def add(
        self, examples: Sequence[Example], counts: Sequence[Sequence[int]], totals: TokenTotals, findings: Findings
    ) -> None:
        """Adds a batch to `totals`, and the findings of examples over the limit. `counts` is what `count` returned."""


def accounting_for(model: ModelFacts, counter: TokenCounter | None = None) -> Accounting:
    """OpenAI's rule with `counter` (default: the reference counter), or an open model's own chat template."""
    if not model.tokenizer:
        return TokenAccounting(model, counter or counter_of(model.encoding))
    from service.datasets.report.template_accounting import TemplateAccounting  # needs the extra `open-models`

    return TemplateAccounting(model)


def definition_counter(model: ModelFacts) -> Callable[[list[Any]], int]:
    """Counts the tokens of one example's function definitions for a model."""
    if not model.tokenizer:
        count = counter_of(model.encoding).count
        return lambda definitions: definition_tokens(definitions, count, model.encoding)
    from service.catalogue.open_models.normalizing import normalized_definitions
    from service.catalogue.open_models.tokenizer import open_tokenizer  # needs the extra `open-models`

    tokenizer = open_tokenizer(model.tokenizer)
    return lambda definitions: tokenizer.definition_tokens(normalized_definitions(definitions))
