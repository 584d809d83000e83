"""Declares, beside a route's handler, what the OpenAPI document says about the route."""

from typing import Any

import msgspec

OPT_KEY = "operation"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """The models of a route: `http.bodies` parses bodies and queries, so the framework does not know their types.

    `form` describes multipart fields by name; `media` is the response's type when it is not JSON; `creates` routes take
    an `Idempotency-Key`; `keyless` routes under /v1 need no API key.
    """

    returns: Any = None
    body: Any = None
    query: Any = None
    form: dict[str, str] | None = None
    media: str = "application/json"
    creates: bool = False
    keyless: bool = False


def operation(
    *,
    returns: Any = None,
    body: Any = None,
    query: Any = None,
    form: dict[str, str] | None = None,
    media: str = "application/json",
    creates: bool = False,
    keyless: bool = False,
) -> dict[str, Any]:
    """The `opt` argument of a route handler, which `document` reads."""
    return {
        OPT_KEY: Operation(
            returns=returns, body=body, query=query, form=form, media=media, creates=creates, keyless=keyless
        )
    }
