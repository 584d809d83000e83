"""An account's poll with several workers and killed ones, and jobs that have stalled."""

import asyncio
import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import func, update

from service.database import leases
from service.database.tables import AccountPoll
from service.settings import Settings
from tests.faults.control import LIST, FaultyUpstream
from tests.workers.account_polls import MANY, due, has_status, listed, patient, running, until, upstream_id
from tests.workers.harness import WorkerHarness, eventually, open_harness, working
from tests.workers.process import WorkerProcess
from workers.jobs.account_poller import poll_account
from workers.maintenance import stalled_jobs
from workers.registry import dispatcher_of


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
