"""Adds up the tokens of examples: totals, trained tokens, definitions, tokens over the limit, the cookbook's figure.

The rule of OpenAI's cookbook is the base (3 tokens per message, 1 per name, 3 per example, every string of a message).
Added to it is what the cookbook's script omits or fails on: text parts of lists, calls, tool definitions, images. So a
count is never below the cookbook's, and equals it for plain chat.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from service.catalogue.tokens import ModelFacts, TokenCounter
from service.datasets.checks.tokens import answer_cut_off, over_limit
from service.datasets.parsing.formats import Example
from service.datasets.report.definition_tokens import definition_tokens
from service.datasets.report.findings import Findings
from service.datasets.report.token_totals import TokenTotals

_CACHED_ROLES = frozenset({"system", "developer"})
_MAX_CACHED_CHARS = 4_000_000
_MAX_CACHED_LABELS = 10_000
_MAX_CACHED_LABEL_CHARS = 256
_MAX_CACHED_DEFINITIONS = 1_000


class TokenAccounting:
    """Counts the tokens of batches of examples. Caches the counts of system prompts, labels and tool definitions."""

    def __init__(self, model: ModelFacts, counter: TokenCounter) -> None:
        self._model = model
        self._count = counter.count
        self._count_all = counter.count_all
        self._labels: dict[str, int] = {}
        self._label_sets: dict[tuple[str, ...], int] = {}
        self._texts: dict[str, int] = {}
        self._cached_chars = 0
        self._definitions: dict[bytes, int] = {}

    def count(self, examples: Sequence[Example]) -> list[list[int]]:
        """The number of tokens of every text of every example."""
        return [self._text_tokens(example) for example in examples]

    def add(
        self, examples: Sequence[Example], counts: Sequence[Sequence[int]], totals: TokenTotals, findings: Findings
    ) -> None:
        """Adds a batch to `totals`, and the findings of examples over the limit. `counts` is what `count` returned."""
        limit = self._model.max_tokens
        per_example: list[int] = []
        cookbook_per_example: list[int] = []
        for example, tokens in zip(examples, counts, strict=True):
            layout = example.layout
            by_cookbook = example.overhead + self._labels_tokens(layout.labels) + sum(tokens)
            extra = example.extra_overhead
            if layout.extra:
                omitted = sum([tokens[at] for at in layout.extra])
                by_cookbook -= omitted
                extra += omitted
            if example.definitions:
                definitions = self._definition_tokens(example.definitions)
                totals.definitions += definitions
                extra += definitions
            total = by_cookbook + extra
            per_example.append(total)
            cookbook_per_example.append(by_cookbook)
            totals.trained += sum([tokens[at] for at in layout.trained])
            totals.images += example.images
            totals.uncountable += not example.cookbook_countable or example.definitions is not None
            if total > limit:
                self._add_over_limit(example, total, tokens, totals, findings)
        totals.total += sum(per_example)
        totals.billable += _sum_capped(per_example, limit)
        totals.per_example.extend(per_example)
        totals.cookbook_billable += _sum_capped(cookbook_per_example, limit)
        totals.cookbook_per_example.extend(cookbook_per_example)

    def _text_tokens(self, example: Example) -> list[int]:
        texts = example.texts
        if example.system is None:
            return self._count_all(texts)
        roles = example.layout.roles
        if roles[:1] == ("system",) and _CACHED_ROLES.isdisjoint(roles[1:]):
            return [self._cached_count(texts[0]), *self._count_all(texts[1:])]
        return [
            self._cached_count(text) if role in _CACHED_ROLES else self._count(text)
            for role, text in zip(roles, texts, strict=True)
        ]

    def _add_over_limit(
        self, example: Example, total: int, tokens: Sequence[int], totals: TokenTotals, findings: Findings
    ) -> None:
        limit = self._model.max_tokens
        totals.examples_over_limit += 1
        totals.tokens_over_limit += total - limit
        findings.add("over_token_limit", example.line, over_limit("", example.answer or example.prompt, total, limit))
        overhead = total - sum(tokens)
        trained = example.layout.trained
        if trained and (start := overhead + sum(tokens[: trained[0]])) >= limit:
            totals.answers_cut_off += 1
            hit = answer_cut_off(example.answer_pointer, example.answer, start, limit)
            findings.add("answer_cut_off", example.line, hit)

    def _labels_tokens(self, labels: tuple[str, ...]) -> int:
        tokens = self._label_sets.get(labels)
        if tokens is None:
            tokens = sum(map(self._label_tokens, labels))
            if len(self._label_sets) < _MAX_CACHED_LABELS and sum(map(len, labels)) < _MAX_CACHED_LABEL_CHARS:
                self._label_sets[labels] = tokens
        return tokens

    def _label_tokens(self, label: str) -> int:
        tokens = self._labels.get(label)
        if tokens is None:
            tokens = self._count(label)
            if len(self._labels) < _MAX_CACHED_LABELS and len(label) < _MAX_CACHED_LABEL_CHARS:
                self._labels[label] = tokens
        return tokens

    def _cached_count(self, text: str) -> int:
        tokens = self._texts.get(text)
        if tokens is None:
            tokens = self._count(text)
            if self._cached_chars + len(text) <= _MAX_CACHED_CHARS:
                self._texts[text] = tokens
                self._cached_chars += len(text)
        return tokens

    def _definition_tokens(self, definitions: list[object]) -> int:
        try:
            key = msgspec.json.encode(definitions)
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
            key = repr(definitions).encode("utf-8", "replace")
        tokens = self._definitions.get(key)
        if tokens is None:
            tokens = definition_tokens(definitions, self._count, self._model.encoding)
            if len(self._definitions) < _MAX_CACHED_DEFINITIONS:
                self._definitions[key] = tokens
        return tokens


def _sum_capped(tokens: Sequence[int], limit: int) -> int:
    """The sum of the numbers, each capped at `limit`."""
    if max(tokens, default=0) <= limit:
        return sum(tokens)
    return sum([min(number, limit) for number in tokens])
