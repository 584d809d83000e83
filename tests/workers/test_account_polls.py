"""An account's poll where its upstream cannot list, where jobs are viewed, and within its budget."""

import asyncio
import datetime as dt
import time

from sqlalchemy import func

from service.jobs.last_viewed import record_view
from service.jobs.queries import get_job
from service.settings import Settings
from service.upstreams import poll_schedule
from service.upstreams.accounts import DEFAULT_ACCOUNT
from tests.faults.control import LIST, FaultyUpstream, error
from tests.upstreams.conftest import add_account
from tests.workers.account_polls import (
    MANY,
    account_poll_of,
    due,
    listed,
    patient,
    running,
    seconds_until_due,
    set_budget,
    silence,
    step,
    until,
    upstream_id,
)
from tests.workers.harness import WorkerHarness, eventually, open_harness, working
from workers.jobs import poll_limiter
from workers.jobs.account_poller import MAX_FAILED_LISTS


class TestAnUpstreamThat:
    async def test_cannot_list_is_asked_for_each_job(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        await step(harness)
        harness.upstream.fault(LIST, error(404), times=0)
        assert not (await step(harness)).listing
        for job_id in job_ids[:3]:
            assert await seconds_until_due(harness, job_id) < 60
            await harness.step(job_id)
            assert await seconds_until_due(harness, job_id) < 60
        assert [each["polls"] for each in harness.upstream.jobs() if each["polls"]] == [1, 1, 1]

    async def test_fails_to_list_for_a_while_too(self, harness: WorkerHarness) -> None:
        await running(harness, MANY)
        await step(harness)
        harness.upstream.fault(LIST, error(500), times=MAX_FAILED_LISTS)
        seen = [(await step(harness)).listing for _ in range(MAX_FAILED_LISTS)]
        assert seen == [True] * (MAX_FAILED_LISTS - 1) + [False]
        assert (await step(harness)).listing

    async def test_refuses_us_holds_the_account(self, harness: WorkerHarness) -> None:
        await running(harness, MANY)
        harness.upstream.fault(LIST, error(401))
        await step(harness)
        assert (await harness.account()).cool_down_reason == "the upstream refuses our credential"

    async def test_hangs_at_one_account_does_not_delay_another(
        self, long_lease_settings: Settings, upstream: FaultyUpstream
    ) -> None:
        async with open_harness(long_lease_settings, upstream) as opened:
            harness = patient(opened)
            async with silence() as (base_url, asked, hang_up):
                account_id = await add_account(harness, base_url)
                await running(harness, MANY, account_id=account_id)
                await running(harness, MANY)
                async with working(harness):
                    await eventually(asked.is_set, about="the account that hangs is not asked")
                    await until(harness, "the other account is not listed", lambda: listed(harness))
                    assert (await account_poll_of(harness, account_id)).leased_until is not None, (
                        "it does not hang any more"
                    )
                    hang_up.set()


class TestWatchers:
    async def test_a_recently_viewed_job_is_polled_with_its_events_and_another_one_is_not(
        self, harness: WorkerHarness
    ) -> None:
        job_ids = await running(harness, MANY)
        await step(harness)
        for _ in range(2):
            async with harness.ctx.db.project(harness.project_id) as session:
                await record_view(session, await get_job(session, harness.project_id, job_ids[0]))
        assert await due(harness) == {job_ids[0]}
        assert (await step(harness)).recently_viewed == 1
        await harness.step(job_ids[0])
        assert len(await harness.messages(job_ids[0])) == 3
        assert await seconds_until_due(harness, job_ids[0]) < 5
        await harness.set_job(job_ids[0], last_viewed_at=func.now() - dt.timedelta(minutes=2))
        await harness.step(job_ids[0])
        assert await seconds_until_due(harness, job_ids[0]) > 1000

    async def test_a_watcher_is_written_down_now_and_then(self, harness: WorkerHarness) -> None:
        [job_id] = await running(harness, 1)
        noted = []
        for _ in range(3):
            async with harness.ctx.db.project(harness.project_id) as session:
                await record_view(session, await get_job(session, harness.project_id, job_id))
            noted.append((await harness.job(job_id)).last_viewed_at)
        assert noted[0] is not None
        assert noted == [noted[0]] * 3


class TestTheBudget:
    async def test_holds_over_all_who_take_from_it(self, harness: WorkerHarness) -> None:
        await set_budget(harness, 60)
        began = time.monotonic()
        taken = [
            await asyncio.gather(
                *(poll_limiter.take(harness.ctx.db, DEFAULT_ACCOUNT, requests=1, base_seconds=1.0) for _ in range(50))
            )
            for _ in range(2)
        ]
        standings = [each for many in taken for each in many]
        allowed = [each for each in standings if each.allowed]
        passed = time.monotonic() - began
        assert poll_schedule.BURST_SECONDS <= len(allowed) <= poll_schedule.BURST_SECONDS + passed + 1, (
            "one a second, and ten at once"
        )
        assert len(allowed) < len(standings)
        assert min(each.wait_seconds for each in standings if not each.allowed) > 0

    async def test_a_poll_waits_for_it_and_a_cancel_does_not(self, harness: WorkerHarness) -> None:
        one, other = await running(harness, 2)
        await set_budget(harness, 10)
        await poll_limiter.take(harness.ctx.db, DEFAULT_ACCOUNT, requests=30, base_seconds=1.0, may_exceed=True)
        await harness.step(one)
        assert await seconds_until_due(harness, one) > 10
        assert not [each for each in harness.upstream.jobs() if each["polls"]]
        await harness.request_cancel(other)
        await harness.step(other)
        assert harness.upstream.seen(f"POST /v1/fine_tuning/jobs/{await upstream_id(harness, other)}/cancel")
