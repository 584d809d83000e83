"""The two kinds of authenticated callers, and what a key's scopes allow. Pure.

A key without scopes may do everything that its kind may. `api.all.read` is OpenAI's scope for a read-only key.
"""

from dataclasses import dataclass
from typing import Literal

READ_ONLY = "api.all.read"
Scope = Literal["api.all.read"]
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller with a project key."""

    key_id: str
    project_id: str
    service_account_id: str | None = None
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Administrator:
    """A caller of the organisation's API, with an admin key."""

    key_id: str
    scopes: tuple[str, ...] = ()


def may(who: Caller | Administrator, method: str) -> bool:
    """Whether the key's scopes allow a request with this HTTP method. One rule, so that it covers every new route.

    A read-only key may only read: every other method changes something or costs money, as inference does.
    """
    return not who.scopes or method in READING_METHODS
