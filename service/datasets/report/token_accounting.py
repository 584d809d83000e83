"""Adds up the tokens of examples: totals, trained parts, definitions, what the limit cuts off, the cookbook's own
figure.

Our figure takes the cookbook's rule as the floor (3 per message, 1 per name, 3 per example, every string of a message)
and adds what that script leaves out or stops at: text parts of lists, calls, tool definitions, images. So ours is never
below the cookbook's, and equal to it for plain chat.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import msgspec

from service.catalogue.tokens import ModelFacts, TokenCounter
from service.datasets.checks.tokens import answer_cut_off, over_limit
from service.datasets.parsing.formats import Example
from service.datasets.report.definition_tokens import definition_tokens
from service.datasets.report.findings import Findings

_CACHED_ROLES = ("system", "developer")
_MAX_CACHED_CHARS = 4_000_000
_MAX_CACHED_LABELS = 10_000
_MAX_CACHED_LABEL_CHARS = 256


class TokenTotals:
    """The figures of some examples; those of others can be added. Of each example two numbers are kept, 8 bytes."""

    def __init__(self) -> None:
        self.total = 0
        self.trained = 0
        self.definitions = 0
        self.billable = 0
        self.tokens_over_limit = 0
        self.examples_over_limit = 0
        self.answers_cut_off = 0
        self.images = 0
        self.uncountable = 0
        self.cookbook_billable = 0
        self.per_example = array("I")
        self.cookbook_per_example = array("I")

    def merge(self, other: TokenTotals) -> None:
        """Adds the figures of other examples."""
        for name, figure in vars(other).items():
            mine = getattr(self, name)
            mine += figure
            setattr(self, name, mine)


class TokenAccounting:
    """Counts the tokens of batches of examples. System prompts seen before are not counted again, for files repeat
    them.
    """

    def __init__(self, model: ModelFacts, counter: TokenCounter) -> None:
        self._model = model
        self._count = counter.count
        self._labels: dict[str, int] = {}
        self._label_sets: dict[tuple[str, ...], int] = {}
        self._remembered: dict[str, int] = {}
        self._remembered_chars = 0
        self._definitions: dict[bytes, int] = {}

    def count(self, examples: Sequence[Example]) -> list[list[int]]:
        """The tokens of every text of every example."""
        return [
            list(map(self._count, example.texts))
            if example.system is None
            else [
                self._remembered_count(text) if role in _CACHED_ROLES else self._count(text)
                for role, text in zip(example.layout.roles, example.texts, strict=True)
            ]
            for example in examples
        ]

    def add(
        self, examples: Sequence[Example], counts: Sequence[Sequence[int]], sums: TokenTotals, findings: Findings
    ) -> None:
        """Adds a batch to `sums`; `counts` as `count` gave them."""
        limit = self._model.max_tokens
        totals: list[int] = []
        plains: list[int] = []
        for example, tokens in zip(examples, counts, strict=True):
            layout = example.layout
            plain = example.overhead + self._all_labels(layout.labels) + sum(tokens)
            extra = example.extra_overhead
            if layout.extra:
                left_out = sum([tokens[at] for at in layout.extra])
                plain -= left_out
                extra += left_out
            if example.definitions:
                defined = self._definition(example.definitions)
                sums.definitions += defined
                extra += defined
            total = plain + extra
            totals.append(total)
            plains.append(plain)
            sums.trained += sum([tokens[at] for at in layout.trained])
            sums.images += example.images
            sums.uncountable += not example.cookbook_countable or example.definitions is not None
            if total > limit:
                self._cut(example, total, tokens, sums, findings)
        sums.total += sum(totals)
        sums.billable += _sum_capped(totals, limit)
        sums.per_example.extend(totals)
        sums.cookbook_billable += _sum_capped(plains, limit)
        sums.cookbook_per_example.extend(plains)

    def _cut(self, example: Example, total: int, tokens: Sequence[int], sums: TokenTotals, findings: Findings) -> None:
        limit = self._model.max_tokens
        sums.examples_over_limit += 1
        sums.tokens_over_limit += total - limit
        findings.add("over_token_limit", example.line, over_limit("", example.answer or example.prompt, total, limit))
        position = total - sum(tokens)
        trained = example.layout.trained
        if trained and (start := position + sum(tokens[: trained[0]])) >= limit:
            sums.answers_cut_off += 1
            hit = answer_cut_off(example.answer_pointer, example.answer, start, limit)
            findings.add("answer_cut_off", example.line, hit)

    def _all_labels(self, labels: tuple[str, ...]) -> int:
        tokens = self._label_sets.get(labels)
        if tokens is None:
            tokens = sum(map(self._label, labels))
            if len(self._label_sets) < _MAX_CACHED_LABELS and sum(map(len, labels)) < _MAX_CACHED_LABEL_CHARS:
                self._label_sets[labels] = tokens
        return tokens

    def _label(self, label: str) -> int:
        tokens = self._labels.get(label)
        if tokens is None:
            tokens = self._count(label)
            if len(self._labels) < _MAX_CACHED_LABELS and len(label) < _MAX_CACHED_LABEL_CHARS:
                self._labels[label] = tokens
        return tokens

    def _remembered_count(self, text: str) -> int:
        tokens = self._remembered.get(text)
        if tokens is None:
            tokens = self._count(text)
            if self._remembered_chars + len(text) <= _MAX_CACHED_CHARS:
                self._remembered[text] = tokens
                self._remembered_chars += len(text)
        return tokens

    def _definition(self, definitions: list[object]) -> int:
        try:
            key = msgspec.json.encode(definitions)
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
            key = repr(definitions).encode("utf-8", "replace")
        tokens = self._definitions.get(key)
        if tokens is None:
            tokens = definition_tokens(definitions, self._count, self._model.encoding)
            if len(self._definitions) < 1_000:
                self._definitions[key] = tokens
        return tokens


def _sum_capped(tokens: Sequence[int], limit: int) -> int:
    """What of the tokens of some examples is within a limit for each."""
    if max(tokens, default=0) <= limit:
        return sum(tokens)
    return sum([min(number, limit) for number in tokens])
