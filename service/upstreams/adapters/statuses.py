"""What the status of a response says about a call and about the account. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from service.upstreams.port import ErrorKind, RefusalKind

MAX_RETRY_AFTER_SECONDS = 3600.0
OUT_OF_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "quotaExceeded"})


def kind_of_refusal(status_code: int, codes: Iterable[object]) -> RefusalKind | None:
    """The kind of a refusal whose error has these codes (`code`, `type`), or None for a status that is no refusal."""
    match status_code:
        case 400 | 403 | 429 if not OUT_OF_QUOTA.isdisjoint(map(str, codes)):
            return "quota"
        case 401 | 403:
            return "auth"
        case 404:
            return "not_found"
        case 429:
            return "rate_limit"
        case 400 | 422:
            return "invalid"
        case _:
            return None


def error_kind_of_status(status_code: int) -> ErrorKind | None:
    """What a response's status says about the account, for responses that are passed on; None for a healthy account."""
    match status_code:
        case 401 | 403:
            return "auth"
        case 429:
            return "rate_limit"
        case status if status >= 500:
            return "away"
        case _:
            return None


def retry_after(headers: Mapping[str, Any]) -> float | None:
    """The seconds in a `Retry-After` header, at most an hour; None for dates and anything else."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS) if seconds == seconds else None
