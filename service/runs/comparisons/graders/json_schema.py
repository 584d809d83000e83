"""The answer is JSON that satisfies a JSON Schema."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import jsonschema_rs
import msgspec

from service.runs.comparisons.graders.base import AnswerContent, GraderOptions, GraderRefused, Score, pass_or_fail
from service.runs.comparisons.graders.json_values import NotJson, canonical, read_json

MAX_SCHEMA_BYTES = 100_000

_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
"""Limits with which patterns inside schemas are matched in time proportional to the answer."""


class JsonSchemaGrader(GraderOptions, frozen=True, kw_only=True, tag="json_schema"):
    """The whole answer has to be JSON that satisfies `schema`: draft 2020-12, or the one that `$schema` names."""

    schema: dict[str, Any]

    compares_with_example: ClassVar[bool] = False

    def check(self) -> None:
        """Compile the schema. Raises `GraderRefused` for an invalid one, and for a remote reference."""
        try:
            encoded = canonical(self.schema)
        except NotJson as error:
            raise GraderRefused(f"The schema cannot be read: {error}.", option="schema") from None
        if len(encoded) > MAX_SCHEMA_BYTES:
            raise GraderRefused(f"The schema has more than {MAX_SCHEMA_BYTES:,} bytes.", option="schema")
        _compiled(encoded)

    def score(self, answer: AnswerContent, reference: AnswerContent) -> Score:
        """Pass a valid answer; else the reason is the first error and its path."""
        try:
            value = read_json(answer.text)
        except NotJson as error:
            return pass_or_fail(False, f"It is not JSON: {error}.")
        try:
            fault = next(iter(_compiled(canonical(self.schema)).iter_errors(value)), None)
        except (ValueError, RecursionError) as error:
            return pass_or_fail(False, f"It cannot be checked: {str(error)[:160]}.")
        if fault is None:
            return pass_or_fail(True, "It satisfies the schema.")
        path = "/" + "/".join(str(step) for step in fault.instance_path)
        return pass_or_fail(False, f"{fault.message[:160]} (at {path[:80]}).")


@lru_cache(maxsize=64)
def _compiled(encoded: bytes) -> Any:
    try:
        return jsonschema_rs.validator_for(msgspec.json.decode(encoded), pattern_options=_PATTERNS, offline=True)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        message = str(getattr(error, "message", None) or error).splitlines()[0]
        raise GraderRefused(f"The schema is not valid: {message[:200]}.", option="schema") from None
