"""Reads the key of a request: `Authorization: Bearer KEY`, or `api-key: KEY`, which Azure's clients send.

`x-api-key` counts as `api-key`. A request with two different keys is refused, whichever would be valid: who calls must
not depend on the order in which a proxy or a library has added headers.
"""

import re

from litestar.datastructures import Headers

from service.errors import Unauthenticated
from service.identity.keys import PREFIXES

KEY_HEADERS = ("api-key", "x-api-key")

_OTHER_SCHEMES = ("basic", "digest", "token", "apikey", "api-key", "key", "negotiate", "ntlm", "oauth")
"""Schemes that a refusal may name. Anything else may be the beginning of a key."""

_HOW = "Send the key as `Authorization: Bearer YOUR_KEY` or `api-key: YOUR_KEY`, or set OPENAI_API_KEY for the SDK."
_ADVICE = (
    (
        re.compile(r"bearer\s", re.IGNORECASE),
        "It begins with `Bearer` once too often: leave one out.",
    ),
    (re.compile(r"""["'<`“‘].*|.*["'>`”’]\Z"""), "It is in quotes or brackets: send it without them."),
    (re.compile(r"(None|null|undefined|nil)?\Z"), "The variable that should contain it is not set."),
    (re.compile(r"[$%{]|YOUR|<"), "It is the name of a variable that your client has not replaced by the key."),
    (re.compile(r"sk-|sess-"), "It has the form of a key of OpenAI, not of this service."),
    (re.compile(r"eyJ"), "It is a token (JWT), as identity providers issue them: send a key of this service."),
    (re.compile(r".*\s"), "It contains white space: send the key alone."),
    (re.compile("|".join(PREFIXES.values())), "It is incomplete or mistyped: copy all of it."),
)


def presented_key(headers: Headers) -> str:
    """The key of a request, in whatever form it is. Raises `Unauthenticated` for none, and for two different ones."""
    authorizations = headers.getall("authorization", [])
    keys = {key for value in authorizations if (key := _bearer(value)) is not None}
    keys |= {key for name in KEY_HEADERS for value in headers.getall(name, []) if (key := value.strip())}
    if len(keys) > 1:
        raise Unauthenticated(
            "The request has two different API keys, in the headers `Authorization` and `api-key`. Send one of them.",
            code="conflicting_api_keys",
        )
    if not keys:
        raise Unauthenticated(_missing(authorizations), code="missing_api_key")
    return keys.pop()


def incorrect_key(key: str) -> Unauthenticated:
    """The refusal of a key that has not the form of this service's keys. It says why, and nothing of the key."""
    advice = next((advice for pattern, advice in _ADVICE if pattern.match(key)), "")
    return Unauthenticated(
        f"Incorrect API key provided. {advice or 'Check it, or ask the platform team for a new one.'}"
    )


def _bearer(authorization: str) -> str | None:
    scheme, key = _divided(authorization)
    return key or None if scheme.lower() == "bearer" else None


def _divided(authorization: str) -> tuple[str, str]:
    scheme, *rest = authorization.split(maxsplit=1) or [""]
    return scheme, "".join(rest).strip()


def _missing(authorizations: list[str]) -> str:
    if not authorizations:
        return f"You didn't provide an API key. {_HOW}"
    scheme, rest = _divided(authorizations[0])
    if scheme.lower() == "bearer":
        what = "is empty after `Bearer`"
    elif scheme.lower() in _OTHER_SCHEMES and rest:
        what = f"has the scheme `{scheme.capitalize()}`"
    else:
        what = "does not begin with `Bearer`"
    return f"You didn't provide an API key: the header `Authorization` {what}. {_HOW}"
