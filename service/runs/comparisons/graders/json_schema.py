"""Does the answer satisfy a JSON Schema?"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import jsonschema_rs
import msgspec

from service.runs.comparisons.graders.kinds import GraderOptions, GraderRefused, Mark, Said, verdict
from service.runs.comparisons.graders.reading import NotJson, canonical, read_json

MOST_SCHEMA_BYTES = 100_000

_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
"""Patterns inside schemas are matched in a time in proportion to the answer, as regular expressions are."""


class JsonSchemaGrader(GraderOptions, frozen=True, kw_only=True, tag="json_schema"):
    """The whole answer is JSON that satisfies `schema`: 2020-12, or the draft that its `$schema` names."""

    schema: dict[str, Any]

    compares_with_example: ClassVar[bool] = False

    def check(self) -> None:
        """Raises `GraderRefused` for what is no schema. Nothing is fetched: an outside reference is refused."""
        try:
            encoded = canonical(self.schema)
        except NotJson as error:
            raise GraderRefused(f"The schema cannot be read: {error}.", option="schema") from None
        if len(encoded) > MOST_SCHEMA_BYTES:
            raise GraderRefused(f"The schema has more than {MOST_SCHEMA_BYTES:,} bytes.", option="schema")
        _compiled(encoded)

    def mark(self, said: Said, wanted: Said) -> Mark:
        """Valid, or the first fault with its place."""
        try:
            value = read_json(said.text)
        except NotJson as error:
            return verdict(False, f"It is not JSON: {error}.")
        try:
            fault = next(iter(_compiled(canonical(self.schema)).iter_errors(value)), None)
        except (ValueError, RecursionError) as error:
            return verdict(False, f"It cannot be checked: {str(error)[:160]}.")
        if fault is None:
            return verdict(True, "It satisfies the schema.")
        path = "/" + "/".join(str(step) for step in fault.instance_path)
        return verdict(False, f"{fault.message[:160]} (at {path[:80]}).")


@lru_cache(maxsize=64)
def _compiled(encoded: bytes) -> Any:
    try:
        return jsonschema_rs.validator_for(msgspec.json.decode(encoded), pattern_options=_PATTERNS, offline=True)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        told = str(getattr(error, "message", None) or error).splitlines()[0]
        raise GraderRefused(f"The schema is not valid: {told[:200]}.", option="schema") from None
