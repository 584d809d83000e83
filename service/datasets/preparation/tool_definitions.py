"""Shortens the definitions of tools and functions: the model learns the same calls from fewer tokens.

Source: OpenAI's guide to fine-tuning, "Function calling: reducing the number of tokens", which names the three modes.
They work for `tools` and for the older `functions`. A malformed definition stays as it is, and its check reports it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any

from service.catalogue.tokens import ModelFacts
from service.datasets.checks.tools import holders
from service.datasets.parsing.formats import definitions_of
from service.datasets.preparation.changes import ChangeLog
from service.datasets.preparation.options import ToolDefinitions
from service.datasets.preparation.outcome import DefinitionTokens
from service.datasets.preparation.scratch import NumberedRow, Row, encode
from service.datasets.report.accounting import definition_counter
from service.datasets.report_schema import Format

DESCRIPTIONS = {
    "without_descriptions": "removes the descriptions of functions and of their parameters",
    "without_parameters": "removes the parameters of functions, and keeps names and descriptions",
    "without_definitions": "removes the definitions of functions, and keeps the calls",
}
"""What each mode of shortening does, as it is shown beside changes."""

_DECLARING = ("tools", "functions", "parallel_tool_calls")
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
_SCHEMA_KEYS = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_SCHEMA_LIST_KEYS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SCHEMA_MAP_KEYS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_MAX_DEPTH = 64
_MAX_CACHED = 1_000


class Shortening:
    """Shortens the definitions of rows, and counts the tokens that this saves in the rows that stay."""

    def __init__(self, mode: ToolDefinitions, model: ModelFacts, log: ChangeLog) -> None:
        self._mode = mode
        self._log = log
        self._tokens_of = definition_counter(model)
        self._line_numbers, self._before, self._after = array("Q"), array("Q"), array("Q")
        self._cache: dict[bytes, int] = {}

    def shortened(self, rows: Iterable[NumberedRow], format: Format | None) -> Iterator[NumberedRow]:
        """The rows with shorter definitions. Only chat and preference rows can have any."""
        for line, row in rows:
            short = shorten(row, self._mode) if format in ("chat", "preference") else row
            if short is not row and short != row:
                self._log.changed(self._mode, line, row, short)
            if (before := self._tokens(row)) > 0:
                self._line_numbers.append(line)
                self._before.append(before)
                self._after.append(self._tokens(short))
            yield line, short

    def saved(self, lines: Iterable[int]) -> DefinitionTokens:
        """The saved tokens in the rows with these line numbers, which are the rows of the output."""
        before = after = 0
        for line in lines:
            place = bisect_left(self._line_numbers, line)
            if place < len(self._line_numbers) and self._line_numbers[place] == line:
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
            tokens = self._cache.get(key)
            if tokens is None:
                tokens = self._tokens_of(defined)
                if len(self._cache) < _MAX_CACHED:
                    self._cache[key] = tokens
            total += tokens
        return total


def shorten(row: Row, mode: ToolDefinitions) -> Row:
    """The row with shorter definitions, or the row itself where it has none."""
    for pointer, holder in holders(row):
        if mode == "keep" or not any(key in holder for key in _DECLARING):
            continue
        if mode == "without_definitions":
            short = {key: value for key, value in holder.items() if key not in _DECLARING}
        else:
            short = {key: _shorter(key, value, mode) for key, value in holder.items()}
        row = {**row, "input": short} if pointer else short
    return row


def inference_advice(mode: ToolDefinitions) -> str | None:
    """Advice for inference with a model that was trained on the shortened definitions."""
    match mode:
        case "keep":
            return None
        case "without_definitions":
            return "The examples call functions that they do not define: ask the tuned model without tools too."
    return "Ask the tuned model with the definitions as they are in the files now; longer ones cost what was saved."


def _shorter(key: str, declared: Any, mode: ToolDefinitions) -> Any:
    if not isinstance(declared, list):
        return declared
    if key == "functions":
        return [_function(each, mode) for each in declared]
    if key == "tools":
        return [
            {**each, "function": _function(each["function"], mode)}
            if isinstance(each, dict) and isinstance(each.get("function"), dict)
            else each
            for each in declared
        ]
    return declared


def _function(function: Any, mode: ToolDefinitions) -> Any:
    if not isinstance(function, dict):
        return function
    if mode == "without_parameters":
        if not isinstance(function.get("parameters"), dict):
            return function
        rest = {key: value for key, value in function.items() if key != "strict"}  # a strict schema lists its own
        return {**rest, "parameters": _NO_PARAMETERS}
    rest = {key: value for key, value in function.items() if key != "description"}
    return {**rest, "parameters": _without_descriptions(rest["parameters"], 0)} if "parameters" in rest else rest


def _without_descriptions(schema: Any, depth: int) -> Any:
    """A JSON schema without its descriptions. A property whose name is `description` stays, and so do the values of
    enum, const, default and examples."""
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "description":
            continue
        if key in _SCHEMA_MAP_KEYS and isinstance(value, dict):
            made[key] = {name: _without_descriptions(inner, depth + 1) for name, inner in value.items()}
        elif key in _SCHEMA_LIST_KEYS and isinstance(value, list):
            made[key] = [_without_descriptions(inner, depth + 1) for inner in value]
        elif key in _SCHEMA_KEYS:
            made[key] = _without_descriptions(value, depth + 1)
        else:
            made[key] = value
    return made
