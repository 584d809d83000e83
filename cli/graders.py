"""Graders as they are typed: a type, a type with its one option, or JSON."""

from pathlib import Path
from typing import Any

import msgspec

from cli.errors import Refused

SHORT_GRADERS = {"regular_expression": "pattern", "judge": "model", "contains": "text", "json_schema": "schema"}
"""The option that `VALUE` of `TYPE=VALUE` sets; a schema is given as the name of a file."""


def grader_of(text: str) -> dict[str, Any]:
    """The grader of a request. Raises `Refused`."""
    if text.lstrip().startswith("{"):
        try:
            grader: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise Refused(f"--grader {text[:80]!r} is no JSON object: {error}") from None
        return grader
    kind, equals, value = text.partition("=")
    if not equals:
        return {"type": kind}
    if kind not in SHORT_GRADERS:
        raise Refused(f'--grader {kind}=… is not known; give its options as JSON: {{"type": "{kind}", …}}.')
    if kind != "json_schema":
        return {"type": kind, SHORT_GRADERS[kind]: value}
    try:
        return {"type": kind, "schema": msgspec.json.decode(Path(value).read_bytes())}
    except (OSError, msgspec.MsgspecError) as error:
        raise Refused(f"{value} is no JSON Schema that can be read: {error}") from None
