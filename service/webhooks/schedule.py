"""When a delivery is attempted again, and when an endpoint is disabled. Pure: time and randomness are arguments."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import assert_never

from service.webhooks.outcomes import Delivered, Outcome, Rejected, Unreachable

JITTER = 0.2
"""A delay lies within ±20 % of the schedule's, so that deliveries that failed together are not retried together."""

RETRY_AFTER_LIMIT_SECONDS = 3600.0
"""The longest `Retry-After` that is honoured; longer ones are shortened to it."""

DISABLE_AFTER = dt.timedelta(hours=120)
"""An endpoint whose every delivery failed for this long is disabled."""

SLOW_SECONDS = 5.0
"""An endpoint whose last attempt succeeded and took longer than this is slow."""

GONE = 410


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The delivery has succeeded."""


@dataclass(frozen=True, slots=True)
class RetryIn:
    """The delivery is attempted again after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Exhausted:
    """That was the schedule's last attempt: the delivery has failed."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The receiver responded with 410 Gone: the delivery has failed and its endpoint is disabled at once."""


Verdict = Succeeded | RetryIn | Exhausted | Gone


def verdict(outcome: Outcome, *, failures_before: int, schedule_seconds: Sequence[float], random: float) -> Verdict:
    """What happens to a delivery after an attempt with this outcome.

    `failures_before` counts the attempts that failed before it since the delivery was (re)started, `schedule_seconds`
    are the delays after the first, second, ... failed attempt, and `random` lies in [0, 1).
    """
    match outcome:
        case Delivered():
            return Succeeded()
        case Rejected(status_code=status_code) if status_code == GONE:
            return Gone()
        case Rejected(retry_after_seconds=retry_after_seconds):
            return _retry(failures_before, schedule_seconds, random, min_seconds=retry_after_seconds or 0.0)
        case Unreachable():
            return _retry(failures_before, schedule_seconds, random, min_seconds=0.0)
        case _:
            assert_never(outcome)


def is_slow(outcome: Outcome) -> bool:
    """Whether the endpoint's further deliveries have to wait in the queue of slow ones."""
    return outcome.latency_ms > SLOW_SECONDS * 1000


def failed_too_long(failing_since: dt.datetime | None, *, now: dt.datetime) -> bool:
    """Whether an endpoint that has just failed again has been failing for `DISABLE_AFTER` or longer."""
    return failing_since is not None and now - failing_since >= DISABLE_AFTER


def parse_retry_after(value: str, *, now: dt.datetime) -> float | None:
    """The seconds to wait by a `Retry-After` header (RFC 9110, 10.2.3: seconds or a date); None for anything else."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, IndexError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=dt.UTC)
    return max(0.0, (at - now).total_seconds())


def _retry(failures_before: int, schedule_seconds: Sequence[float], random: float, *, min_seconds: float) -> Verdict:
    if failures_before >= len(schedule_seconds):
        return Exhausted()
    delay_seconds = schedule_seconds[failures_before] * (1 + JITTER * (2 * random - 1))
    return RetryIn(max(delay_seconds, min(min_seconds, RETRY_AFTER_LIMIT_SECONDS)))
