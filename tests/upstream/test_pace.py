"""How often jobs are looked at, and what is news: the rules alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.upstreams.poll_schedule import (
    LIST_SHARE,
    LOOK_REQUESTS,
    PAGE,
    QUICK_SECONDS,
    SLOWEST,
    Crowd,
    default_per_minute,
    list_seconds,
    look_seconds,
    looks_until_next_list,
    news_in,
    next_look_seconds,
    told_of,
)
from service.upstreams.port import UpstreamJob

BASE = 15.0
HOURS = 3600.0


def job(**values: object) -> UpstreamJob:
    """A running job as a list tells it."""
    told = {
        "id": "ftjob-1", "status": "running", "created_at": 5, "metadata": {}, "fine_tuned_model": None,
        "trained_tokens": None, "estimated_finish": None, "result_files": [], "error_code": None,
        "error_message": None, "error_param": None,
    } | values  # fmt: skip
    return UpstreamJob(**told)  # type: ignore[arg-type]


def crowd(active: int, *, listing: bool = False, watched: int = 0, per_minute: float = 600) -> Crowd:
    return Crowd(listing=listing, active=active, watched=watched, per_minute=per_minute)


@pytest.mark.parametrize(
    ("age", "left", "pause"),
    [
        (0, None, 15),
        (QUICK_SECONDS, None, 15),
        (2 * QUICK_SECONDS, None, 30),
        (9 * HOURS, None, 60),
        (0, 9 * HOURS, 15),
        (2 * HOURS, HOURS, 60),
        (2 * HOURS, 120, 30),
        (2 * HOURS, 30, 15),
        (2 * HOURS, -30, 15),
        (2 * HOURS, -2 * QUICK_SECONDS, 60),
    ],
)
def test_quick_at_first_and_near_the_end_slow_between(age: float, left: float | None, pause: float) -> None:
    assert look_seconds(BASE, age_seconds=age, left_seconds=left) == pause


@given(
    base=st.floats(0.1, 600),
    age=st.floats(-100, 1e7),
    left=st.none() | st.floats(-1e7, 1e7),
    active=st.integers(1, 100_000),
    per_minute=st.floats(10, 1e5),
    listing=st.booleans(),
    watched=st.booleans(),
)
def test_never_quicker_than_the_setting_nor_over_the_budget(
    base: float, age: float, left: float | None, active: int, per_minute: float, listing: bool, watched: bool
) -> None:
    assert base <= look_seconds(base, age_seconds=age, left_seconds=left) <= base * SLOWEST
    of = crowd(active, listing=listing, watched=active if watched else 0, per_minute=per_minute)
    pause = next_look_seconds(base, age_seconds=age, left_seconds=left, watched=watched, wished=False, crowd=of)
    assert pause >= base
    assert active * LOOK_REQUESTS * 60 / pause <= per_minute * 1.001
    pages = -(-active // PAGE)
    assert pages * 60 / list_seconds(base, pages=pages, per_minute=per_minute) <= per_minute * LIST_SHARE * 1.001


def test_few_jobs_are_looked_at_as_quickly_as_the_setting_says() -> None:
    for active in (1, 10, 25):
        pause = next_look_seconds(
            BASE, age_seconds=60, left_seconds=None, watched=False, wished=False, crowd=crowd(active)
        )
        assert pause == BASE
    assert default_per_minute(BASE) == 600


def test_listed_jobs_are_looked_at_when_somebody_watches_or_wants_something() -> None:
    def pause(*, watched: bool = False, wished: bool = False, watchers: int = 1) -> float:
        of = crowd(1000, listing=True, watched=watchers)
        return next_look_seconds(BASE, age_seconds=HOURS, left_seconds=None, watched=watched, wished=wished, crowd=of)

    assert pause() >= 1800
    assert pause(watched=True) == BASE
    assert pause(watched=True, watchers=900) == pytest.approx(900)
    assert pause(wished=True) == BASE
    assert looks_until_next_list(BASE, per_minute=600) == 150


@pytest.mark.parametrize(
    ("told", "news"),
    [
        ({}, "none"),
        ({"metadata": {"a": "b"}, "created_at": 9}, "none"),
        ({"status": "paused"}, "change"),
        ({"finished_at": 7}, "change"),
        ({"error_code": "exceeded"}, "change"),
        ({"trained_tokens": 5}, "progress"),
        ({"estimated_finish": None}, "progress"),
        ({"estimated_finish": 10_059}, "none"),
        ({"estimated_finish": 10_500}, "progress"),
    ],
)
def test_news(told: dict[str, object], news: str) -> None:
    before = told_of(job(estimated_finish=10_000))
    assert news_in(before, job(**{"estimated_finish": 10_000, **told}), ended=False, now=9_000) == news
    assert news_in(None, job(**told), ended=False, now=9_000) == "change"
    assert news_in(before, job(**told), ended=True, now=9_000) == "end"


def test_words_of_the_upstream_cannot_forge_what_is_remembered() -> None:
    assert news_in(told_of(job()), job(status="running|||"), ended=False, now=0) == "change"
    assert news_in("anything", job(), ended=False, now=0) == "change"
