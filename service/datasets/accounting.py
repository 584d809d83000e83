"""Adds up the tokens of examples: totals, trained parts, definitions, what the limit cuts off, the cookbook's own
figure.

Our figure takes the cookbook's rule as the floor (3 per message, 1 per name, 3 per example, every string of a message)
and adds what that script leaves out or stops at: text parts of lists, calls, tool definitions, images. So ours is never
below the cookbook's, and equal to it for plain chat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from service.datasets.checks.registry import Hit
from service.datasets.checks.tokens import answer_cut_off, over_limit
from service.datasets.definitions import definition_tokens
from service.datasets.findings import Findings
from service.datasets.formats import Example
from service.datasets.tokens import ModelFacts, TokenCounter

_REMEMBERED_ROLES = ("system", "developer")
_REMEMBERED_CHARS = 4_000_000


class Accounting:
    """Takes batches of examples with the token counts of their texts.

    The texts of a batch are handed out by `texts_of` first, so that they can be counted elsewhere (in another thread)
    while the next batch is read; system prompts seen before are not handed out again, for most files repeat one.
    """

    def __init__(self, model: ModelFacts, counter: TokenCounter, findings: Findings) -> None:
        self.total = 0
        self.trained = 0
        self.definitions = 0
        self.billable = 0
        self.tokens_over_limit = 0
        self.examples_over_limit = 0
        self.answers_cut_off = 0
        self.images = 0
        self.per_example: Counter[int] = Counter()
        self.cookbook_billable = 0
        self.cookbook_per_example: Counter[int] = Counter()
        self.uncountable = 0
        self._model = model
        self._count = counter.count
        self._findings = findings
        self._labels: dict[str, int] = {}
        self._remembered: dict[str, int] = {}
        self._remembered_chars = 0
        self._definitions: dict[bytes, int] = {}

    def texts_of(self, examples: Sequence[Example]) -> list[str]:
        """The texts to count for a batch, in the order in which `add` wants their counts."""
        remembered = self._remembered
        return [piece.text for example in examples for piece in example.pieces if piece.text not in remembered]

    def add(self, examples: Sequence[Example], texts: Sequence[str], counts: Sequence[int]) -> None:
        """Adds a batch; `texts` as handed out for it, `counts` their tokens."""
        known: dict[str, int] = dict(zip(texts, counts, strict=True))
        known.update(self._remembered)
        for example in examples:
            self._add_example(example, known)

    def _add_example(self, example: Example, known: dict[str, int]) -> None:
        plain, extra, trained = example.overhead, example.extra_overhead, 0
        for label in example.labels:
            plain += self._label(label)
        for piece in example.pieces:
            tokens = known[piece.text]
            if piece.plain:
                plain += tokens
            else:
                extra += tokens
            if piece.trained:
                trained += tokens
            elif piece.role in _REMEMBERED_ROLES:
                self._remember(piece.text, tokens)
        if example.definitions:
            defined = self._definition(example.definitions)
            self.definitions += defined
            extra += defined
        total = plain + extra
        limit = self._model.max_tokens
        self.total += total
        self.trained += trained
        self.images += example.images
        self.billable += min(total, limit)
        self.per_example[total] += 1
        self.cookbook_billable += min(plain, limit)
        self.cookbook_per_example[plain] += 1
        self.uncountable += not example.countable or example.definitions is not None
        if total > limit:
            self._cut(example, total, known)

    def _cut(self, example: Example, total: int, known: dict[str, int]) -> None:
        limit = self._model.max_tokens
        self.examples_over_limit += 1
        self.tokens_over_limit += total - limit
        place, value = "", example.answer or example.prompt
        self._findings.add("over_token_limit", example.line, over_limit(place, value, total, limit))
        rest = sum(known[piece.text] for piece in example.pieces)
        before = total - rest
        position = before
        starts: list[int] = []
        for piece in example.pieces:
            if piece.trained:
                starts.append(position)
            position += known[piece.text]
        if starts and starts[0] >= limit:
            self.answers_cut_off += 1
            hit: Hit = answer_cut_off(example.answer_pointer, example.answer, starts[0], limit)
            self._findings.add("answer_cut_off", example.line, hit)

    def _label(self, label: str) -> int:
        tokens = self._labels.get(label)
        if tokens is None:
            tokens = self._count(label)
            if len(self._labels) < 10_000 and len(label) < 256:
                self._labels[label] = tokens
        return tokens

    def _remember(self, text: str, tokens: int) -> None:
        if text not in self._remembered and self._remembered_chars + len(text) <= _REMEMBERED_CHARS:
            self._remembered[text] = tokens
            self._remembered_chars += len(text)

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
