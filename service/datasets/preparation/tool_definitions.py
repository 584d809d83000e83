"""Shorter definitions of tools and functions: the same calls learnt, for fewer tokens in every example and request.

Source: OpenAI's guide to fine-tuning, "Function calling: reducing the number of tokens", which names the three ways.
They work for `tools` and for the older `functions`. What is malformed is left as it is, for its check to name.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from service.catalogue.tokens import ModelFacts, reference_counter
from service.datasets.checks.tools import holders
from service.datasets.parsing.formats import definitions_of
from service.datasets.preparation.changes import ChangeLog
from service.datasets.preparation.scratch import Numbered, Row, encode
from service.datasets.report.definition_tokens import definition_tokens
from service.datasets.report_schema import Format

ToolDefinitions = Literal["keep", "without_descriptions", "without_parameters", "without_definitions"]

DOES = {
    "without_descriptions": "removes the descriptions of functions and of their parameters",
    "without_parameters": "removes the parameters of functions, and keeps names and descriptions",
    "without_definitions": "removes the definitions of functions, and keeps the calls",
}
"""What each way of shortening does, in a change's words."""

_DECLARING = ("tools", "functions", "parallel_tool_calls")
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
_HOLD_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_HOLD_LIST = ("allOf", "anyOf", "oneOf", "prefixItems")
_HOLD_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_MOST_DEPTH = 64
_REMEMBERED = 1_000


class DefinitionTokens(msgspec.Struct, frozen=True, kw_only=True):
    """What the definitions of all examples together cost before and after, by the count of a report."""

    before: int
    after: int
    saved: int


class Shortening:
    """Shortens the definitions of rows that pass through, and keeps account of what that saved in those that stay."""

    def __init__(self, way: ToolDefinitions, model: ModelFacts, log: ChangeLog) -> None:
        self._way = way
        self._log = log
        self._count = reference_counter(model.encoding).count
        self._encoding = model.encoding
        self._lines, self._before, self._after = array("Q"), array("Q"), array("Q")
        self._known: dict[bytes, int] = {}

    def shortened(self, rows: Iterable[Numbered], format: Format | None) -> Iterator[Numbered]:
        """The rows with shorter definitions. Only chat and preference rows can have any."""
        for line, row in rows:
            short = shorten(row, self._way) if format in ("chat", "preference") else row
            if short is not row and short != row:
                self._log.changed(self._way, line, row, short)
            if (before := self._tokens(row)) > 0:
                self._lines.append(line)
                self._before.append(before)
                self._after.append(self._tokens(short))
            yield line, short

    def saved(self, kept: Iterable[int]) -> DefinitionTokens:
        """What it came to in the rows that are still there, by their lines."""
        before = after = 0
        for line in kept:
            place = bisect_left(self._lines, line)
            if place < len(self._lines) and self._lines[place] == line:
                before += self._before[place]
                after += self._after[place]
        return DefinitionTokens(before=before, after=after, saved=before - after)

    def _tokens(self, row: Row) -> int:
        total = 0
        for _, holder in holders(row):
            defined = definitions_of(holder)
            if not defined:
                continue
            key = encode(defined)
            tokens = self._known.get(key)
            if tokens is None:
                tokens = definition_tokens(defined, self._count, self._encoding)
                if len(self._known) < _REMEMBERED:
                    self._known[key] = tokens
            total += tokens
        return total


def shorten(row: Row, way: ToolDefinitions) -> Row:
    """The row with shorter definitions, or the row itself where it has none."""
    for pointer, holder in holders(row):
        if way == "keep" or not any(key in holder for key in _DECLARING):
            continue
        if way == "without_definitions":
            short = {key: value for key, value in holder.items() if key not in _DECLARING}
        else:
            short = {key: _shorter(key, value, way) for key, value in holder.items()}
        row = {**row, "input": short} if pointer else short
    return row


def inference_advice(way: ToolDefinitions) -> str | None:
    """What to keep in mind at inference."""
    match way:
        case "keep":
            return None
        case "without_definitions":
            return "The examples call functions that they do not define: ask the tuned model without tools too."
    return "Ask the tuned model with the definitions as they are in the files now; longer ones cost what was saved."


def _shorter(key: str, declared: Any, way: ToolDefinitions) -> Any:
    if not isinstance(declared, list):
        return declared
    if key == "functions":
        return [_function(each, way) for each in declared]
    if key == "tools":
        return [
            {**each, "function": _function(each["function"], way)}
            if isinstance(each, dict) and isinstance(each.get("function"), dict)
            else each
            for each in declared
        ]
    return declared


def _function(function: Any, way: ToolDefinitions) -> Any:
    if not isinstance(function, dict):
        return function
    if way == "without_parameters":
        if not isinstance(function.get("parameters"), dict):
            return function
        kept = {key: value for key, value in function.items() if key != "strict"}  # a strict schema lists its own
        return {**kept, "parameters": _NO_PARAMETERS}
    kept = {key: value for key, value in function.items() if key != "description"}
    return {**kept, "parameters": _described_not(kept["parameters"], 0)} if "parameters" in kept else kept


def _described_not(schema: Any, depth: int) -> Any:
    """A schema without its descriptions. What is called `description` among the properties is one of them, and stays;
    so do values: of enum, const, default and examples."""
    if not isinstance(schema, dict) or depth > _MOST_DEPTH:
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "description":
            continue
        if key in _HOLD_NAMED and isinstance(value, dict):
            made[key] = {name: _described_not(inner, depth + 1) for name, inner in value.items()}
        elif key in _HOLD_LIST and isinstance(value, list):
            made[key] = [_described_not(inner, depth + 1) for inner in value]
        elif key in _HOLD_ONE:
            made[key] = _described_not(value, depth + 1)
        else:
            made[key] = value
    return made
