"""Adds up the tokens of examples as an open model's trainer sees them: by its own chat template and tokenizer.

A row's tokens are the length of the sequence that is trained on: the whole conversation as the template renders it,
special tokens included; of a preference row the lengths of both, prompt with preferred and with rejected answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from service.catalogue.open_models.chat_templates import NotRendered
from service.catalogue.open_models.normalizing import NotAMessage, NotText, normalized_definitions
from service.catalogue.open_models.row_sequences import Sequences, sequences_of
from service.catalogue.open_models.tokenizer import open_tokenizer
from service.catalogue.tokens import ModelFacts
from service.datasets.checks.registry import Hit
from service.datasets.checks.tokens import SPECIAL_TOKENS, answer_cut_off, not_rendered, over_limit, special_token
from service.datasets.parsing.formats import Example
from service.datasets.report.findings import Findings
from service.datasets.report.token_totals import TokenTotals

_MAX_CACHED_DEFINITIONS = 1_000
_NONE = Sequences((), 0, lambda: 0)


class TemplateAccounting:
    """Counts the tokens of batches of examples for an open model. Caches the counts of tool definitions."""

    def __init__(self, model: ModelFacts) -> None:
        self._model = model
        self._tokenizer = open_tokenizer(model.tokenizer)
        own = [re.escape(token) for token in self._tokenizer.special_tokens if token not in SPECIAL_TOKENS]
        self._special = re.compile("|".join(sorted(own, key=len, reverse=True))) if own else None
        self._definitions: dict[bytes, int] = {}

    def count(self, examples: Sequence[Example]) -> list[list[int]]:
        """0 for every text: `add` counts the texts where the template has them."""
        return [[0] * len(example.texts) for example in examples]

    def add(
        self, examples: Sequence[Example], counts: Sequence[Sequence[int]], totals: TokenTotals, findings: Findings
    ) -> None:
        """Adds a batch to `totals`, and findings of what the template cannot render or is over the limit."""
        limit = self._model.max_tokens
        for example in examples:
            self._find_special_tokens(example, findings)
            sequences = self._sequences(example, findings)
            if example.definitions:
                totals.definitions += self._definition_tokens(example.definitions)
            total = sum(sequences.lengths)
            totals.trained += sequences.trained
            totals.total += total
            totals.billable += sum([min(length, limit) for length in sequences.lengths])
            totals.per_example.append(total)
            if (longest := max(sequences.lengths, default=0)) > limit:
                totals.examples_over_limit += 1
                totals.tokens_over_limit += sum([max(length - limit, 0) for length in sequences.lengths])
                hit = over_limit("", example.answer or example.prompt, longest, limit)
                findings.add("over_token_limit", example.line, hit)
                if (start := sequences.answer_start()) >= limit:
                    totals.answers_cut_off += 1
                    cut = answer_cut_off(example.answer_pointer, example.answer, start, limit)
                    findings.add("answer_cut_off", example.line, cut)

    def _find_special_tokens(self, example: Example, findings: Findings) -> None:
        if self._special is None:
            return
        for pointer, text in zip(example.layout.pointers, example.texts, strict=True):
            if found := self._special.search(text):
                hit = special_token(pointer, text, found[0], found.start(), self._model.name)
                findings.add("special_token_in_text", example.line, hit)

    def _sequences(self, example: Example, findings: Findings) -> Sequences:
        try:
            if example.row:
                return sequences_of(example.row, self._tokenizer)
            roles = example.layout.roles
            messages = [{"role": role, "content": text} for role, text in zip(roles, example.texts, strict=True)]
            return sequences_of({"messages": messages}, self._tokenizer)
        except (NotRendered, NotText) as error:
            hit = Hit("", example.answer or example.prompt, not_rendered(self._model.name, str(error)))
            findings.add("template_cannot_render", example.line, hit)
        except NotAMessage:
            pass  # checks of the format report the row
        return _NONE

    def _definition_tokens(self, definitions: list[object]) -> int:
        tools = normalized_definitions(definitions)
        try:
            key = msgspec.json.encode(tools)
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
            key = repr(tools).encode("utf-8", "replace")
        tokens = self._definitions.get(key)
        if tokens is None:
            tokens = self._tokenizer.definition_tokens(tools)
            if len(self._definitions) < _MAX_CACHED_DEFINITIONS:
                self._definitions[key] = tokens
        return tokens
