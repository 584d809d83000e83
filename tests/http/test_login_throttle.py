"""The login throttle decides what a refusal looks like, by the clock and for each client address."""

import pytest

from service.errors import RateLimited, Unauthenticated
from service.http import login_throttle
from service.http.login_throttle import MISSING, WINDOW_SECONDS, LoginThrottle


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def outcome(throttle: LoginThrottle, address: str | None, *, purpose: str = "", code: str = "invalid_api_key") -> int:
    """The status of one refusal."""
    return throttle.count(Unauthenticated("No.", code=code), address, purpose=purpose).status


def test_above_the_limit_a_refusal_says_when_to_come_back() -> None:
    clock = Clock()
    throttle = LoginThrottle(per_minute=2, clock=clock)
    assert [outcome(throttle, "192.0.2.1") for _ in range(4)] == [401, 401, 429, 429]
    clock.now += WINDOW_SECONDS - 10
    limited = throttle.count(Unauthenticated("No."), "192.0.2.1")
    assert isinstance(limited, RateLimited)
    assert limited.retry_after_seconds == 10
    clock.now += 10
    assert outcome(throttle, "192.0.2.1") == 401


def test_addresses_and_purposes_are_apart_and_a_network_of_ipv6_is_one() -> None:
    throttle = LoginThrottle(per_minute=1)
    assert [outcome(throttle, "192.0.2.1") for _ in range(2)] == [401, 429]
    assert outcome(throttle, "192.0.2.2") == outcome(throttle, "192.0.2.1", purpose="upstream_1") == 401
    assert [outcome(throttle, f"2001:db8::{number}") for number in range(1, 3)] == [401, 429]
    assert outcome(throttle, "2001:db8:0:1::1") == 401


def test_a_request_without_a_key_is_no_guess() -> None:
    throttle = LoginThrottle(per_minute=1)
    assert [outcome(throttle, "192.0.2.1", code=MISSING) for _ in range(3)] == [401] * 3
    assert outcome(throttle, "192.0.2.1") == 401


def test_its_memory_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_throttle, "MAX_COUNTED", 3)
    throttle = LoginThrottle(per_minute=1)
    for number in range(4):
        assert outcome(throttle, f"192.0.2.{number}") == 401
    assert outcome(throttle, "192.0.2.3") == 429, "the newest are still counted"
    assert outcome(throttle, "192.0.2.0") == 401, "the oldest was forgotten"
