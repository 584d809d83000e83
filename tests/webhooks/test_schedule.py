"""When a delivery is tried again, and when an endpoint is given up."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.settings import Settings
from service.webhooks.outcomes import Delivered, Outcome, Rejected, Unreachable
from service.webhooks.schedule import (
    RETRY_AFTER_LIMIT_SECONDS,
    Exhausted,
    Gone,
    RetryIn,
    Succeeded,
    failed_too_long,
    parse_retry_after,
    verdict,
)

SCHEDULE = Settings().webhook_schedule_seconds
NOW = dt.datetime(2026, 11, 20, 12, 0, 0, tzinfo=dt.UTC)

failures = st.one_of(
    st.builds(
        Rejected,
        status_code=st.integers(100, 599).filter(lambda code: not 200 <= code < 300 and code != 410),
        latency_ms=st.just(1),
        response=st.just(""),
        retry_after_seconds=st.none() | st.floats(0, 1e12),
    ),
    st.builds(Unreachable, reason=st.just("timeout"), detail=st.just(""), latency_ms=st.just(1)),
)
randoms = st.floats(0, 1, exclude_max=True)


class TestVerdict:
    def test_the_default_schedule_is_the_documented_one(self) -> None:
        assert SCHEDULE == (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)

    @given(st.integers(0, 100), randoms)
    def test_a_success_ends_it_at_any_time(self, failures_before: int, random: float) -> None:
        outcome = Delivered(status_code=204, latency_ms=1, response="")
        assert _verdict(outcome, failures_before, random) == Succeeded()

    @given(st.integers(0, 100), randoms)
    def test_410_ends_it_and_the_endpoint(self, failures_before: int, random: float) -> None:
        outcome = Rejected(status_code=410, latency_ms=1, response="", retry_after_seconds=5)
        assert _verdict(outcome, failures_before, random) == Gone()

    @given(failures, st.integers(0, len(SCHEDULE) - 1), randoms)
    def test_a_failure_waits_for_the_schedule_within_a_fifth(
        self, outcome: Rejected | Unreachable, failures_before: int, random: float
    ) -> None:
        delay = SCHEDULE[failures_before]
        asked = (outcome.retry_after_seconds or 0) if isinstance(outcome, Rejected) else 0
        result = _verdict(outcome, failures_before, random)
        assert isinstance(result, RetryIn)
        assert result.seconds >= min(asked, RETRY_AFTER_LIMIT_SECONDS)
        assert 0.8 * delay <= result.seconds <= max(1.2 * delay, RETRY_AFTER_LIMIT_SECONDS)
        if asked == 0:
            assert result.seconds <= 1.2 * delay

    @given(failures, st.integers(len(SCHEDULE), 1000), randoms)
    def test_after_the_schedule_it_has_failed(self, outcome: Outcome, failures_before: int, random: float) -> None:
        assert _verdict(outcome, failures_before, random) == Exhausted()

    @given(failures)
    def test_jitter_covers_both_sides(self, outcome: Outcome) -> None:
        for random, seconds in ((0.0, 0.8e6), (0.5, 1e6), (0.999999, 1.2e6)):
            result = verdict(outcome, failures_before=0, schedule_seconds=[1e6], random=random)
            assert isinstance(result, RetryIn)
            assert result.seconds == pytest.approx(seconds)


class TestGivenUp:
    def test_after_120_hours_of_nothing_but_failures(self) -> None:
        assert not failed_too_long(None, now=NOW)
        assert not failed_too_long(NOW - dt.timedelta(hours=119, minutes=59), now=NOW)
        assert failed_too_long(NOW - dt.timedelta(hours=120), now=NOW)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("0", 0),
            ("120", 120),
            (" 7 ", 7),
            ("Fri, 20 Nov 2026 12:01:00 GMT", 60),
            ("Fri, 20 Nov 2026 11:00:00 GMT", 0),
            ("", None),
            ("-1", None),
            ("soon", None),
            ("1.5", None),
            ("٣", None),
            ("9" * 400, 999999999999),
        ],
    )
    def test_seconds_or_a_date(self, value: str, seconds: float | None) -> None:
        assert parse_retry_after(value, now=NOW) == seconds

    @given(st.text())
    def test_anything_else_is_none(self, value: str) -> None:
        seconds = parse_retry_after(value, now=NOW)
        assert seconds is None or seconds >= 0


def _verdict(outcome: Outcome, failures_before: int, random: float) -> object:
    return verdict(outcome, failures_before=failures_before, schedule_seconds=SCHEDULE, random=random)
