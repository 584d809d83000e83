"""How often jobs are polled, and what counts as an update: the rules alone."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.upstreams.poll_schedule import (
    DETAIL_SHARE,
    FULL_RATE_SECONDS,
    LIST_SHARE,
    LISTS_PER_MINUTE,
    MAX_LIST_SHARE,
    MAX_SLOWDOWN,
    NEW_JOB_SNAPSHOT,
    PAGE,
    RECENTLY_VIEWED_SHARE,
    REQUESTS_PER_POLL,
    SAFETY_SHARE,
    Load,
    classify_update,
    default_per_minute,
    is_left_to_lists,
    list_seconds,
    next_poll_seconds,
    poll_seconds,
    polls_until_next_list,
    snapshot_of,
)
from service.upstreams.port import UpstreamJob
from workers.jobs.list_sweep import RunningJob, Sweep

BASE = 15.0
HOURS = 3600.0


def job(**values: object) -> UpstreamJob:
    """A running job as a list tells it."""
    reported = {
        "id": "ftjob-1", "status": "running", "created_at": 5, "metadata": {}, "fine_tuned_model": None,
        "trained_tokens": None, "estimated_finish": None, "result_files": [], "error_code": None,
        "error_message": None, "error_param": None,
    } | values  # fmt: skip
    return UpstreamJob(**reported)  # type: ignore[arg-type]


def load_of(active: int, *, listing: bool = False, recently_viewed: int = 0, per_minute: float = 600) -> Load:
    return Load(listing=listing, active=active, recently_viewed=recently_viewed, per_minute=per_minute)


@pytest.mark.parametrize(
    ("age", "left", "pause"),
    [
        (0, None, 15),
        (FULL_RATE_SECONDS, None, 15),
        (2 * FULL_RATE_SECONDS, None, 30),
        (9 * HOURS, None, 60),
        (0, 9 * HOURS, 15),
        (2 * HOURS, HOURS, 60),
        (2 * HOURS, 120, 30),
        (2 * HOURS, 30, 15),
        (2 * HOURS, -30, 15),
        (2 * HOURS, -2 * FULL_RATE_SECONDS, 60),
    ],
)
def test_quick_at_first_and_near_the_end_slow_between(age: float, left: float | None, pause: float) -> None:
    assert poll_seconds(BASE, age_seconds=age, left_seconds=left) == pause


@given(
    base=st.floats(0.1, 600),
    age=st.floats(-100, 1e7),
    left=st.none() | st.floats(-1e7, 1e7),
    active=st.integers(1, 100_000),
    per_minute=st.floats(10, 1e5),
    listing=st.booleans(),
    recently_viewed=st.booleans(),
)
def test_never_quicker_than_the_setting_nor_over_the_budget(
    base: float, age: float, left: float | None, active: int, per_minute: float, listing: bool, recently_viewed: bool
) -> None:
    assert base <= poll_seconds(base, age_seconds=age, left_seconds=left) <= base * MAX_SLOWDOWN
    of = load_of(active, listing=listing, recently_viewed=active if recently_viewed else 0, per_minute=per_minute)
    pause = next_poll_seconds(
        base, age_seconds=age, left_seconds=left, recently_viewed=recently_viewed, request_pending=False, load=of
    )
    assert pause >= base
    assert active * REQUESTS_PER_POLL * 60 / pause <= per_minute * 1.001
    pages = -(-active // PAGE)
    lists = pages * 60 / list_seconds(base, pages=pages, per_minute=per_minute)
    assert lists <= max(per_minute * LIST_SHARE, LISTS_PER_MINUTE) * 1.001
    assert lists <= per_minute * MAX_LIST_SHARE * 1.001


def test_the_shares_of_a_listed_account_stay_below_its_limit() -> None:
    assert MAX_LIST_SHARE + RECENTLY_VIEWED_SHARE + DETAIL_SHARE + SAFETY_SHARE < 1


@pytest.mark.parametrize(("per_minute", "seconds"), [(100, 255), (300, 102), (600, 102), (1200, 51)])
def test_a_list_of_ten_thousand_jobs_starts_every_two_minutes_or_sooner_from_300_requests_on(
    per_minute: float, seconds: float
) -> None:
    assert list_seconds(BASE, pages=170, per_minute=per_minute) == pytest.approx(seconds)


def test_a_new_job_is_left_to_lists_unless_it_is_viewed_or_has_a_pending_request() -> None:
    def left(*, polled: bool = False, viewed: bool = False, pending: bool = False, listing: bool = True) -> bool:
        load = load_of(1000, listing=listing)
        return is_left_to_lists(polled=polled, recently_viewed=viewed, request_pending=pending, load=load)

    assert left()
    assert not any([left(polled=True), left(viewed=True), left(pending=True), left(listing=False)])


def test_few_jobs_are_polled_as_often_as_the_setting_says() -> None:
    for active in (1, 10, 25):
        pause = next_poll_seconds(
            BASE, age_seconds=60, left_seconds=None, recently_viewed=False, request_pending=False, load=load_of(active)
        )
        assert pause == BASE
    assert default_per_minute(BASE) == 600


def test_listed_jobs_are_polled_when_viewed_or_with_a_pending_request() -> None:
    def pause(*, recently_viewed: bool = False, request_pending: bool = False, watchers: int = 1) -> float:
        of = load_of(1000, listing=True, recently_viewed=watchers)
        return next_poll_seconds(
            BASE,
            age_seconds=HOURS,
            left_seconds=None,
            recently_viewed=recently_viewed,
            request_pending=request_pending,
            load=of,
        )

    assert pause() >= 1800
    assert pause(recently_viewed=True) == BASE
    assert pause(recently_viewed=True, watchers=900) == pytest.approx(900)
    assert pause(request_pending=True) == BASE
    assert polls_until_next_list(BASE, per_minute=600) == 7


@pytest.mark.parametrize(
    ("reported", "updates"),
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
def test_updates(reported: dict[str, object], updates: str) -> None:
    before = snapshot_of(job(estimated_finish=10_000))
    assert classify_update(before, job(**{"estimated_finish": 10_000, **reported}), ended=False, now=9_000) == updates
    assert classify_update(None, job(**reported), ended=False, now=9_000) == "change"
    assert classify_update(before, job(**reported), ended=True, now=9_000) == "end"


def test_words_of_the_upstream_cannot_forge_what_is_remembered() -> None:
    assert classify_update(snapshot_of(job()), job(status="running|||"), ended=False, now=0) == "change"
    assert classify_update("anything", job(), ended=False, now=0) == "change"


def test_another_place_in_the_upstream_s_queue_is_progress() -> None:
    third = snapshot_of(job(status="queued", queue_place=3))
    for reported, updates in ((3, "none"), (2, "progress"), (None, "progress")):
        found = classify_update(third, job(status="queued", queue_place=reported), ended=False, now=0)
        assert found == updates
    assert classify_update(NEW_JOB_SNAPSHOT, job(status="queued", queue_place=1), ended=False, now=0) == "progress"


def test_a_listed_job_that_has_cost_its_budget_is_polled_now() -> None:
    running = RunningJob(
        id="ours", upstream_id="ftjob-1", snapshot=snapshot_of(job()), since=dt.datetime.now(dt.UTC), age_seconds=60,
        left_seconds=None, polled_seconds_ago=10, details_pending=False, due=False, failures=0, recently_viewed=False,
        budget_gpu_seconds=20,
    )  # fmt: skip
    for used, to_poll in ((19.9, []), (20, ["ours"]), (None, [])):
        sweep = Sweep([running], load_of(30, listing=True), seconds=30)
        found = sweep.read([job(gpu_seconds=used)], now=0)
        assert ([each.id for each in found.to_poll], found.updates) == (to_poll, {})
