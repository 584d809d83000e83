"""What attempts show of their endpoints. Pure."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from service.database.leases import Claim
from service.database.tables import WebhookDelivery
from service.webhooks.outcomes import Delivered, Outcome, Rejected
from service.webhooks.schedule import Exhausted, Gone, RetryIn, Succeeded, Verdict
from workers.webhooks.attempt import Attempt, Unsendable
from workers.webhooks.health import Health, health_after
from workers.webhooks.messages import Endpoint, Message

NOW = dt.datetime(2026, 11, 20, 12, 0, 0, tzinfo=dt.UTC)
HEALTHY = Health(failing_since=None, slow_since=None, disabled_at=None, disabled_reason=None)
ENDPOINT = Endpoint(
    id="we_1",
    project_id="proj_1",
    url="https://a.example/",
    secret_encrypted=b"",
    old_secret_encrypted=None,
    old_secret_expires_at=None,
    disabled_at=None,
    disabled_reason=None,
    deleted_at=None,
    failing_since=None,
    slow_since=None,
    updated_at=NOW,
)
CLAIM: Claim[Any] = Claim(WebhookDelivery(id="whd_1"), 1, NOW, lease_seconds=30.0, deadline=0.0)


def attempt(outcome: Outcome | Unsendable, verdict: Verdict | None) -> Attempt:
    """An attempt that started now."""
    message = Message(ENDPOINT, "evt_1", b"{}")
    return Attempt(claimed=CLAIM, message=message, started_at=NOW, outcome=outcome, verdict=verdict)


SUCCESS = attempt(Delivered(status_code=200, latency_ms=10, response=""), Succeeded())
SLOW = attempt(Delivered(status_code=200, latency_ms=6000, response=""), Succeeded())
ERROR = Rejected(status_code=500, latency_ms=10, response="")
FAILURES = [attempt(ERROR, RetryIn(5.0)), attempt(ERROR, Exhausted())]
GONE = attempt(Rejected(status_code=410, latency_ms=10, response=""), Gone())


def after(health: Health, *attempts: Attempt, updated_at: dt.datetime = NOW) -> Health:
    """The health after attempts, one after the other."""
    for each in attempts:
        health = health_after(health, each, updated_at=updated_at, now=NOW)
    return health


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_begins_a_time_of_failures_which_a_success_ends(failure: Attempt) -> None:
    assert after(HEALTHY, failure) == replace(HEALTHY, failing_since=NOW)
    assert after(HEALTHY, failure, SUCCESS) == HEALTHY
    since = NOW - dt.timedelta(hours=1)
    assert after(replace(HEALTHY, failing_since=since), failure).failing_since == since


@pytest.mark.parametrize(("hours", "is_disabled"), [(119, False), (120, True)])
def test_120_hours_of_failures_disable_it(hours: float, is_disabled: bool) -> None:
    failing = replace(HEALTHY, failing_since=NOW - dt.timedelta(hours=hours))
    disabled = after(failing, FAILURES[0])
    assert (disabled.disabled_at is not None) == is_disabled
    assert ("Every delivery failed since 2026-11-15" in (disabled.disabled_reason or "")) == is_disabled


def test_a_success_among_failures_of_one_transaction_begins_the_count_anew() -> None:
    failing = replace(HEALTHY, failing_since=NOW - dt.timedelta(hours=200))
    assert after(failing, SUCCESS, FAILURES[0]) == replace(HEALTHY, failing_since=NOW)


def test_a_slow_success_makes_it_slow_until_a_fast_one() -> None:
    assert after(HEALTHY, SLOW) == replace(HEALTHY, slow_since=NOW)
    assert after(HEALTHY, SLOW, SUCCESS) == HEALTHY


def test_410_disables_it_once() -> None:
    gone = after(HEALTHY, GONE)
    assert gone == replace(HEALTHY, disabled_at=NOW, disabled_reason="The receiver answered 410 Gone.")
    before = replace(HEALTHY, disabled_at=NOW - dt.timedelta(hours=1), disabled_reason="another")
    assert after(before, GONE) == before


@pytest.mark.parametrize("failure", [*FAILURES, GONE])
def test_a_failure_of_an_endpoint_that_was_changed_meanwhile_does_not_count(failure: Attempt) -> None:
    assert after(HEALTHY, failure, updated_at=NOW + dt.timedelta(seconds=1)) == HEALTHY


def test_what_was_not_sent_shows_nothing() -> None:
    assert after(HEALTHY, attempt(Unsendable("endpoint_deleted"), None)) == HEALTHY
