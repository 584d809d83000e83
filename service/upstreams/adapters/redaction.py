"""Removes a credential from an upstream's responses: some upstreams repeat the key that they refuse. Pure."""

import dataclasses
from typing import Any, TypeVar

Value = TypeVar("Value")

REDACTED = "(credential)"
MIN_LENGTH = 8
"""Shorter values are no secrets, and replacing them would only corrupt the text."""


def redacted(value: Value, secret: str) -> Value:
    """`value` with every occurrence of `secret` replaced, at any depth of dataclasses, lists and dicts."""
    return value if len(secret) < MIN_LENGTH else _redacted(value, secret)


def _redacted(value: Any, secret: str) -> Any:
    match value:
        case str():
            return value.replace(secret, REDACTED)
        case bytes():
            return value.replace(secret.encode(), REDACTED.encode())
        case dict():
            return {_redacted(key, secret): _redacted(inner, secret) for key, inner in value.items()}
        case list():
            return [_redacted(inner, secret) for inner in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return dataclasses.replace(value, **_redacted(fields, secret))
        case _:
            return value
