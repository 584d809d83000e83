"""Many running jobs of an account are listed by pages; each is polled on an update or while recently viewed."""

import asyncio
import dataclasses
import datetime as dt
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from service.database import leases
from service.database.tables import AccountPoll, Job, JobState, UpstreamAccount
from service.ids import new_id
from service.jobs.last_viewed import record_view
from service.jobs.queries import get_job
from service.settings import Settings
from service.upstreams import poll_schedule
from service.upstreams.accounts import DEFAULT_ACCOUNT
from service.upstreams.labels import labels
from tests.faults.control import LIST, FaultyUpstream, error
from tests.upstreams.conftest import add_account
from tests.workers.harness import MODEL, WorkerHarness, eventually, open_harness, working
from tests.workers.process import WorkerProcess
from workers.jobs import poll_limiter
from workers.jobs.account_poller import MAX_FAILED_LISTS, poll_account
from workers.maintenance import stalled_jobs
from workers.registry import dispatcher_of

MANY = poll_schedule.MAX_POLLED_SINGLY + 5
FAR = dt.timedelta(hours=2)
METHOD = {
    "type": "supervised",
    "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": "auto", "learning_rate_multiplier": "auto"}},
}


async def running(harness: WorkerHarness, count: int, *, account_id: str = DEFAULT_ACCOUNT) -> list[str]:
    """Jobs that run upstream, known to the last word, and are not due for long."""
    file_id = await harness.new_file()
    made = []
    for _ in range(count):
        job_id = new_id("ftjob-")
        steps = [{"status": "running"}]
        theirs = harness.upstream.put_job(
            model=MODEL, metadata=labels(harness.ctx.instance, job_id, 1), _steps=steps, status="running"
        )
        made.append(
            {
                "id": job_id, "project_id": harness.project_id, "state": "running", "model": MODEL, "seed": 1,
                "training_file_id": file_id, "method": METHOD,
                "create_phase": "created", "account_id": account_id, "upstream_job_id": theirs["id"],
                "upstream_status": "running", "upstream_snapshot": "running||||", "due_at": func.now() + FAR,
                "polled_at": func.now() - FAR, "admitted_at": func.now(), "started_at": func.now(),
            }
        )  # fmt: skip
    async with harness.ctx.db.worker() as session:
        for values in made:
            await session.execute(insert(Job).values(**values))
    await make_due(harness, account_id)
    return [values["id"] for values in made]


async def make_due(harness: WorkerHarness, account_id: str = DEFAULT_ACCOUNT) -> None:
    """Have the account watched over now."""
    await poll_limiter.take(harness.ctx.db, account_id, requests=1, base_seconds=1.0, may_exceed=True)
    async with harness.ctx.db.worker() as session:
        await session.execute(update(AccountPoll).where(AccountPoll.id == account_id).values(due_at=func.now()))


async def step(harness: WorkerHarness, account_id: str = DEFAULT_ACCOUNT) -> AccountPoll:
    """One step of the watch, as a worker does it; and the watch afterwards."""
    await make_due(harness, account_id)
    async with harness.ctx.db.worker() as session:
        [claimed] = await leases.claim(session, AccountPoll, lease_seconds=30, where=[AccountPoll.id == account_id])
    await poll_account(harness.ctx, claimed)
    return await account_poll_of(harness, account_id)


async def account_poll_of(harness: WorkerHarness, account_id: str = DEFAULT_ACCOUNT) -> AccountPoll:
    """The watch as it is now."""
    async with harness.ctx.db.worker() as session:
        return await session.get_one(AccountPoll, account_id)


async def due(harness: WorkerHarness) -> set[str]:
    """The jobs that are due."""
    async with harness.ctx.db.worker() as session:
        return set(await session.scalars(select(Job.id).where(Job.due_at <= func.clock_timestamp())))


async def end(harness: WorkerHarness, job_ids: list[str]) -> None:
    """End jobs behind the workers' backs."""
    values = {"state": "failed", "error_code": "x", "finished_at": func.now(), "due_at": None}
    async with harness.ctx.db.worker() as session:
        await session.execute(update(Job).where(Job.id.in_(job_ids)).values(**values))


async def upstream_id(harness: WorkerHarness, job_id: str) -> str:
    """The id of a job's upstream job."""
    return (await harness.job(job_id)).upstream_job_id or ""


async def set_budget(harness: WorkerHarness, per_minute: int) -> None:
    """Give the account a budget."""
    async with harness.ctx.db.worker() as session:
        await session.execute(update(UpstreamAccount).values(polls_per_minute=per_minute))


async def seconds_until_due(harness: WorkerHarness, job_id: str) -> float:
    """When a job is polled again."""
    due_at = (await harness.job(job_id)).due_at
    assert due_at is not None
    return (due_at - dt.datetime.now(dt.UTC)).total_seconds()


class TestLists:
    async def test_all_pages_are_read_and_unchanged_jobs_are_not_touched(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        harness.upstream.configure(page_size=7)
        before = [await harness.job(job_id) for job_id in job_ids[:3]]
        seen = await step(harness)
        assert (seen.listing, seen.active, seen.recently_viewed, seen.failures) == (True, MANY, 0, 0)
        assert len(harness.upstream.seen(LIST)) == -(-MANY // 7)
        assert await due(harness) == set()
        after = [await harness.job(job_id) for job_id in job_ids[:3]]
        assert [(job.due_at, job.lease_token) for job in after] == [(job.due_at, job.lease_token) for job in before]
        assert not [each for each in harness.upstream.jobs() if each["polls"]], "a job was looked at by itself"

    async def test_it_ends_with_the_oldest_own_job(self, harness: WorkerHarness) -> None:
        await running(harness, MANY)
        for _ in range(10):
            harness.upstream.put_job(metadata=labels(harness.ctx.instance, "ftjob-other", 1), created_at=1000)
        harness.upstream.configure(page_size=5)
        gone = (await running(harness, 1))[0]
        harness.upstream.put_job(id=await upstream_id(harness, gone), _gone=True)
        await step(harness)
        assert len(harness.upstream.seen(LIST)) == MANY // 5 + 1
        assert await due(harness) == {gone}, "it is missing in the list, and looked at by itself"

    async def test_only_jobs_with_updates_are_woken(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        updates: list[dict[str, Any]] = [
            {"_steps": [{"status": "failed"}], "status": "failed"},
            {"status": "paused", "_steps": [{"status": "paused"}]},
            {"trained_tokens": 7},
            {"estimated_finish": 2_000_000_000},
        ]
        for job_id, values in zip(job_ids, updates, strict=False):
            harness.upstream.put_job(id=await upstream_id(harness, job_id), **values)
        await step(harness)
        assert await due(harness) == set(job_ids[: len(updates)])

    async def test_what_it_shows_is_written_without_a_poll(self, harness: WorkerHarness) -> None:
        ended, started, progressed = (await running(harness, MANY))[:3]
        await harness.set_job(started, started_at=None, upstream_status="queued", upstream_snapshot="queued||||")
        harness.upstream.put_job(id=await upstream_id(harness, ended), status="failed")
        harness.upstream.put_job(id=await upstream_id(harness, started), status="running")
        harness.upstream.put_job(
            id=await upstream_id(harness, progressed),
            status="running",
            trained_tokens=7,
            estimated_finish=2_000_000_000,
        )
        tokens = (await harness.job(progressed)).lease_token
        await step(harness)
        assert not [each for each in harness.upstream.jobs() if each["polls"]]
        assert (await harness.job(ended)).state == "settling"
        began = await harness.job(started)
        assert (began.upstream_status, began.started_at is not None) == ("running", True)
        assert await harness.webhooks(started) == ["running"]
        job = await harness.job(progressed)
        assert (job.upstream_snapshot, job.leased_until) == ("running|||7|2000000000", None)
        assert job.estimated_finish_at == dt.datetime.fromtimestamp(2_000_000_000, dt.UTC)
        assert job.lease_token == tokens + 1, "it is written without a claim of its own"

    async def test_a_job_that_was_polled_since_the_request_is_newer_than_the_list(self, harness: WorkerHarness) -> None:
        older, newer = (await running(harness, MANY))[:2]
        await harness.set_job(newer, polled_at=func.now() + dt.timedelta(minutes=1))
        for job_id in (older, newer):
            harness.upstream.put_job(id=await upstream_id(harness, job_id), status="paused")
        await step(harness)
        assert [(await harness.job(job_id)).upstream_status for job_id in (older, newer)] == ["paused", "running"]

    async def test_a_job_that_another_worker_has_claimed_is_left_to_it(self, harness: WorkerHarness) -> None:
        job_id = (await running(harness, MANY))[0]
        harness.upstream.put_job(id=await upstream_id(harness, job_id), status="failed")
        claimed = await harness.claim(job_id)
        assert claimed is not None
        await harness.set_job(job_id, due_at=func.now() + FAR)
        await step(harness)
        job = await harness.job(job_id)
        assert (job.state, job.lease_token) == ("running", claimed.token)

    async def test_a_job_that_cannot_be_written_does_not_delay_the_others(self, harness: WorkerHarness) -> None:
        odd, ended = (await running(harness, MANY))[:2]
        async with harness.ctx.db.worker() as session:
            session.add(JobState(job_id=odd, project_id=harness.project_id, sequence=1, state="settling"))
        for job_id in (odd, ended):
            harness.upstream.put_job(id=await upstream_id(harness, job_id), status="failed")
        await step(harness)
        assert [(await harness.job(job_id)).state for job_id in (odd, ended)] == ["running", "settling"]

    async def test_updates_whose_events_nobody_could_fetch_yet_are_polled_later(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        await set_budget(harness, 200)
        for job_id in job_ids[:3]:
            harness.upstream.put_job(id=await upstream_id(harness, job_id), trained_tokens=7)
        polled: list[str] = []
        for _ in range(4):
            await step(harness)
            for job_id in await due(harness):
                await harness.step(job_id)
                polled.append(job_id)
        assert sorted(polled) == sorted(job_ids[:3]), "one in a list, each once"

    async def test_mere_progress_rests_a_while(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        await harness.set_job(job_ids[0], polled_at=func.now())
        harness.upstream.put_job(id=await upstream_id(harness, job_ids[0]), trained_tokens=7)
        await step(harness)
        assert await due(harness) == set()

    async def test_a_poll_takes_the_updates_and_leaves_the_job_to_the_list(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        harness.upstream.put_job(
            id=await upstream_id(harness, job_ids[0]), _steps=[{"status": "paused"}], status="paused"
        )
        await step(harness)
        job = await harness.step(job_ids[0])
        assert (job.upstream_status, job.upstream_snapshot) == ("paused", "paused||||")
        assert await seconds_until_due(harness, job_ids[0]) > 1000
        await step(harness)
        assert await due(harness) == set()

    async def test_a_job_that_begins_is_left_to_the_list_until_there_are_updates(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        await step(harness)
        theirs = await upstream_id(harness, job_ids[0])
        harness.upstream.put_job(id=theirs, _steps=[{"status": "running"}], status="queued")
        await harness.set_job(
            job_ids[0], polled_at=None, upstream_snapshot=poll_schedule.NEW_JOB_SNAPSHOT, upstream_status="queued"
        )
        await harness.step(job_ids[0])
        await step(harness)
        assert not [each for each in harness.upstream.jobs() if each["polls"]]
        assert await due(harness) == set()
        harness.upstream.put_job(id=theirs, status="running")
        await step(harness)
        assert await due(harness) == {job_ids[0]}
        assert (await harness.step(job_ids[0])).upstream_status == "running"

    async def test_no_more_are_woken_than_can_be_polled_and_ends_come_first(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        await set_budget(harness, 60)
        for job_id in job_ids:
            harness.upstream.put_job(id=await upstream_id(harness, job_id), trained_tokens=7)
        ended = job_ids[MANY // 2]
        harness.upstream.put_job(id=await upstream_id(harness, ended), _steps=[{"status": "failed"}], status="failed")
        await step(harness)
        woken = await due(harness)
        assert ended in woken
        assert len(woken) < MANY / 2

    async def test_few_jobs_look_by_themselves_and_the_change_is_noticed(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        assert (await step(harness)).listing
        await end(harness, job_ids[3:])
        assert not (await step(harness)).listing
        assert await seconds_until_due(harness, job_ids[0]) < 10
        await harness.step(job_ids[0])
        assert await seconds_until_due(harness, job_ids[0]) <= harness.ctx.settings.poll_seconds

    async def test_a_poll_in_progress_while_the_list_ends_leaves_nothing_to_it(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        await step(harness)
        claimed = await harness.claim(job_ids[0])
        assert claimed is not None
        await end(harness, job_ids[1:])
        assert not (await step(harness)).listing
        async with harness.ctx.db.worker() as session:
            await leases.give_back(session, claimed, {}, due_in_seconds=poll_schedule.SAFETY_SECONDS)
        assert await seconds_until_due(harness, job_ids[0]) < 10

    async def test_nor_does_one_that_read_of_the_list_just_before_its_end(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        await step(harness)
        await end(harness, job_ids)
        assert (await step(harness)).due_at is not None, "it rests, and nobody tells a late job that there is no list"
        [late] = await running(harness, 1)
        await step(harness)
        assert await seconds_until_due(harness, late) < 10
        await end(harness, [late])
        assert (await step(harness)).due_at is None

    async def test_a_list_tells_of_few_jobs_too_while_one_of_them_rests(self, harness: WorkerHarness) -> None:
        young, old = await running(harness, 2)
        await step(harness)
        assert not harness.upstream.seen(LIST)
        long_ago = func.now() - dt.timedelta(hours=5)
        await harness.set_job(old, admitted_at=long_ago, started_at=long_ago)
        harness.upstream.put_job(id=await upstream_id(harness, old), status="paused", _steps=[{"status": "paused"}])
        assert not (await step(harness)).listing
        assert len(harness.upstream.seen(LIST)) == 1
        assert await due(harness) == {old}
        assert young != old

    async def test_without_running_jobs_the_watch_rests(self, harness: WorkerHarness) -> None:
        assert (await step(harness)).due_at is None


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


class TestSafety:
    async def test_two_workers_list_once_in_an_interval(self, harness: WorkerHarness) -> None:
        await running(harness, MANY)
        harness = patient(harness)
        workers = [dispatcher_of(harness.ctx) for _ in range(2)]
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        await eventually(lambda: all(worker.rounds > 4 for worker in workers), about="they do not turn")
        await until(harness, "nobody has listed", lambda: listed(harness))
        rounds = [worker.rounds for worker in workers]
        await eventually(
            lambda: all(worker.rounds > before + 2 for worker, before in zip(workers, rounds, strict=True))
        )
        for worker in workers:
            await worker.stop(10)
        await asyncio.gather(*tasks)
        assert len(harness.upstream.seen(LIST)) == 1

    async def test_a_worker_that_lost_its_lease_wakes_no_job(self, harness: WorkerHarness) -> None:
        job_ids = await running(harness, MANY)
        harness.upstream.put_job(
            id=await upstream_id(harness, job_ids[0]), status="paused", _steps=[{"status": "paused"}]
        )
        async with harness.ctx.db.worker() as session:
            [claimed] = await leases.claim(session, AccountPoll, lease_seconds=30)
            await session.execute(update(AccountPoll).values(lease_token=AccountPoll.lease_token + 1))
        with pytest.raises(leases.LeaseLost):
            await poll_account(harness.ctx, claimed)
        assert await due(harness) == set()

    @pytest.mark.parametrize("point", ["account_poll.listed", "account_poll.recorded"])
    async def test_a_lister_killed_there_loses_no_updates(
        self, long_lease_settings: Settings, upstream: FaultyUpstream, tmp_path: Path, point: str
    ) -> None:
        async with open_harness(long_lease_settings, upstream) as harness:
            job_ids = await running(harness, MANY)
            updates = {"status": "pondering", "_steps": [{"status": "pondering"}]}
            upstream.put_job(id=await upstream_id(harness, job_ids[3]), **updates)
            async with WorkerProcess(long_lease_settings, tmp_path, fault_point=point) as first:
                await first.killed()
            await harness.end_leases()
            async with working(harness):
                await until(harness, "the news are lost", lambda: has_status(harness, job_ids[3], "pondering"))
            assert {(await harness.job(job_id)).state for job_id in job_ids} == {"running"}


class TestStalls:
    async def test_are_reported_once_until_there_are_updates(self, harness: WorkerHarness) -> None:
        stuck, paused, well = await running(harness, 3)
        long_ago = func.now() - dt.timedelta(days=3)
        await harness.set_job(stuck, last_update_at=long_ago)
        await harness.set_job(paused, last_update_at=long_ago, upstream_status="paused")
        await harness.set_job(well, created_at=long_ago, last_update_at=func.now())
        assert [await stalled_jobs.report_stalled_jobs(harness.ctx.db) for _ in range(2)] == [1, 0]
        said = "The job has stalled: no update for 72 hours (running, running at the upstream). It is still polled"
        assert await harness.messages(stuck, "warn") == [said]
        await harness.step(stuck)
        assert (await harness.job(stuck)).stalled_at is None
        await harness.set_job(stuck, last_update_at=long_ago)
        assert await stalled_jobs.report_stalled_jobs(harness.ctx.db) == 1

    async def test_racing_workers_tell_once(self, harness: WorkerHarness) -> None:
        [stuck] = await running(harness, 1)
        await harness.set_job(stuck, last_update_at=func.now() - dt.timedelta(days=3))
        await asyncio.gather(*(stalled_jobs.report_stalled_jobs(harness.ctx.db) for _ in range(4)))
        assert len(await harness.messages(stuck, "warn")) == 1


def patient(harness: WorkerHarness, poll_seconds: float = 300.0) -> WorkerHarness:
    """The same with long pauses, so that an interval is not over in the test."""
    settings = dataclasses.replace(harness.ctx.settings, poll_seconds=poll_seconds)
    return dataclasses.replace(harness, ctx=dataclasses.replace(harness.ctx, settings=settings))


async def listed(harness: WorkerHarness) -> bool:
    """Whether the default account has been listed."""
    return (await account_poll_of(harness)).listing


async def has_status(harness: WorkerHarness, job_id: str, status: str) -> bool:
    """Whether the job's row knows this status."""
    return (await harness.job(job_id)).upstream_status == status


async def until(harness: WorkerHarness, about: str, condition: Any) -> None:
    """Wait until a condition holds that has to be asked for."""
    for _ in range(1800):
        if await condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(about)


@asynccontextmanager
async def silence() -> AsyncIterator[tuple[str, asyncio.Event, asyncio.Event]]:
    """The base URL of a server that answers nothing: set once it was asked, and to be set that it hang up."""
    asked, hang_up = asyncio.Event(), asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with AsyncExitStack() as stack:
            stack.callback(writer.close)
            await reader.readline()
            asked.set()
            await hang_up.wait()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/v1", asked, hang_up
    finally:
        server.close()
