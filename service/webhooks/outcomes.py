"""The outcomes of one delivery attempt: a closed set, to be matched with `assert_never`."""

from dataclasses import dataclass
from typing import Literal

UnreachableReason = Literal[
    "timeout",
    "dns_failed",
    "forbidden_target",
    "connect_failed",
    "tls_failed",
    "connection_lost",
    "protocol_error",
    "secret_unreadable",
]
"""Why there was no response. `forbidden_target`: the address or the URL breaks the rules of `targets.py`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The receiver accepted the event with a 2xx. `response` is the start of the response body, as text."""

    status_code: int
    latency_ms: int
    response: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The receiver responded with another status than 2xx. This includes redirects, which are not followed."""

    status_code: int
    latency_ms: int
    response: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """There was no response."""

    reason: UnreachableReason
    detail: str
    latency_ms: int


Outcome = Delivered | Rejected | Unreachable
