"""When a delivery is tried again, and when an endpoint is given up. Pure: time and randomness are arguments."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import assert_never

from service.webhooks.outcomes import Delivered, Outcome, Rejected, Unreachable

JITTER = 0.2
"""A delay lies within ±20 % of the schedule's, so that deliveries which failed together do not return together."""

RETRY_AFTER_LIMIT_SECONDS = 3600.0
"""The longest `Retry-After` that is honoured; the schedule itself goes on from there."""

GIVE_UP_AFTER = dt.timedelta(hours=120)
"""An endpoint that did nothing but fail for this long is disabled."""

GONE = 410


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The delivery is done."""


@dataclass(frozen=True, slots=True)
class RetryIn:
    """The delivery is tried again after `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Exhausted:
    """That was the last try of the schedule: the delivery has failed."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The receiver said 410: the delivery has failed and its endpoint is to be disabled at once."""


Verdict = Succeeded | RetryIn | Exhausted | Gone


def verdict(outcome: Outcome, *, failures_before: int, schedule_seconds: Sequence[float], random: float) -> Verdict:
    """What follows from one try.

    `failures_before` counts the tries that failed before it since the delivery was (re)started, `schedule_seconds`
    are the delays after the first, second, ... failed try, and `random` lies in [0, 1).
    """
    match outcome:
        case Delivered():
            return Succeeded()
        case Rejected(status_code=status_code) if status_code == GONE:
            return Gone()
        case Rejected(retry_after_seconds=retry_after_seconds):
            return _next(failures_before, schedule_seconds, random, at_least=retry_after_seconds or 0.0)
        case Unreachable():
            return _next(failures_before, schedule_seconds, random, at_least=0.0)
        case _:
            assert_never(outcome)


def given_up(failing_since: dt.datetime | None, *, now: dt.datetime) -> bool:
    """Whether an endpoint, which has just failed again, has failed for too long."""
    return failing_since is not None and now - failing_since >= GIVE_UP_AFTER


def parse_retry_after(value: str, *, now: dt.datetime) -> float | None:
    """Seconds to wait by a `Retry-After` header (RFC 9110, 10.2.3: seconds or a date); None for anything else."""
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


def _next(failures_before: int, schedule_seconds: Sequence[float], random: float, *, at_least: float) -> Verdict:
    if failures_before >= len(schedule_seconds):
        return Exhausted()
    delay_seconds = schedule_seconds[failures_before] * (1 + JITTER * (2 * random - 1))
    return RetryIn(max(delay_seconds, min(at_least, RETRY_AFTER_LIMIT_SECONDS)))
