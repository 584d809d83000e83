"""The answer is JSON that satisfies a JSON Schema."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import msgspec

from service.json_schemas import limit_exceeded
from service.runs.comparisons.graders.base import AnswerContent, GraderOptions, GraderRefused, Score, pass_or_fail
from service.runs.comparisons.graders.json_values import NotJson, read_json

_PATTERN_BYTES = 1 << 20
"""The limit with which patterns inside schemas are matched in time proportional to the answer."""


class JsonSchemaGrader(GraderOptions, frozen=True, kw_only=True, tag="json_schema"):
    """The whole answer has to be JSON that satisfies `schema`: draft 2020-12, or the one that `$schema` names."""

    schema: dict[str, Any]

    compares_with_example: ClassVar[bool] = False

    def check(self) -> None:
        """Compile the schema. Raises `GraderRefused` for one that is invalid, too complex or remote."""
        if (exceeded := limit_exceeded(self.schema)) is not None:
            raise GraderRefused(f"The schema is too complex: {exceeded}", option="schema")
        compiled(msgspec.json.encode(self.schema))

    def score(self, answer: AnswerContent, reference: AnswerContent) -> Score:
        """Pass a valid answer; else the reason is the first error and its path."""
        try:
            value = read_json(answer.text)
        except NotJson as error:
            return pass_or_fail(False, f"It is not JSON: {error}.")
        try:
            validator = compiled(msgspec.json.encode(self.schema))
            fault = next(iter(validator.iter_errors(value)), None)
        except (ValueError, RecursionError) as error:
            return pass_or_fail(False, f"It cannot be checked: {str(error)[:160]}.")
        if fault is None:
            return pass_or_fail(True, "It satisfies the schema.")
        path = "/" + "/".join(str(step) for step in fault.instance_path)
        return pass_or_fail(False, f"{fault.message[:160]} (at {path[:80]}).")


@lru_cache(maxsize=16)
def compiled(encoded: bytes) -> Any:
    """The validator of an encoded schema. Raises `GraderRefused`."""
    import jsonschema_rs  # the API's process never grades

    patterns = jsonschema_rs.RegexOptions(size_limit=_PATTERN_BYTES, dfa_size_limit=_PATTERN_BYTES)
    try:
        return jsonschema_rs.validator_for(msgspec.json.decode(encoded), pattern_options=patterns, offline=True)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        message = str(getattr(error, "message", None) or error).splitlines()[0]
        raise GraderRefused(f"The schema is not valid: {message[:200]}.", option="schema") from None
