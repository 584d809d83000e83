"""What the OpenAPI document says of a route, declared beside its handler."""

from typing import Any

import msgspec

OPT_KEY = "operation"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """The shapes of a route: bodies and queries are read by `http.bodies`, so the framework does not know them.

    `form` lists multipart fields by name with what they are; `media` is the answer's type when it is not JSON.
    `keyless` routes under /v1 take no key of ours.
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
    """The `opt` of a route handler."""
    return {
        OPT_KEY: Operation(
            returns=returns, body=body, query=query, form=form, media=media, creates=creates, keyless=keyless
        )
    }
