"""Who can call, and what a key may do. Pure.

A key without scopes may do everything that its kind may. `api.all.read` is OpenAI's word for a key that only reads.
"""

from dataclasses import dataclass
from typing import Literal

READ_ONLY = "api.all.read"
Scope = Literal["api.all.read"]
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Caller:
    """A project's caller."""

    key_id: str
    project_id: str
    service_account_id: str | None = None
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Administrator:
    """A caller of the organisation's API."""

    key_id: str
    scopes: tuple[str, ...] = ()


def may(who: Caller | Administrator, method: str) -> bool:
    """Whether the key's scopes allow a request by its method: one rule, so that a new route is held by it at once.

    Everything but reading changes something or spends, inference too.
    """
    return not who.scopes or method in READING_METHODS
