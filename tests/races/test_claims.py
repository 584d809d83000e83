"""Leases under contention: one holder at a time, and nothing that a former holder writes comes through."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import ColumnElement
from sqlalchemy.ext.asyncio import AsyncSession

from service.database import leases
from service.database.leases import Claim, LeaseLost
from service.database.tables import Job
from service.jobs.lifecycle import JobError
from service.jobs.record import apply_transition
from service.jobs.transitions import Transition
from tests.faults.control import CREATE, NEVER
from tests.workers.harness import WorkerHarness, eventually
from workers.jobs.advance import advance
from workers.jobs.create import create

CLAIMERS = 8


async def claim(harness: WorkerHarness, *, limit: int = 1, lease_seconds: float = 30.0) -> list[Claim[Job]]:
    """Claim due jobs, as a worker does."""
    async with harness.ctx.db.worker() as session:
        return await leases.claim(session, Job, lease_seconds=lease_seconds, limit=limit)


async def taken_over(harness: WorkerHarness, job_id: str) -> Claim[Job]:
    """A claim of the job whose lease is over and that another worker has claimed since, without its noticing."""
    stale = await harness.claim(job_id)
    await harness.end_leases()
    assert await harness.claim(job_id) is not None
    assert stale is not None
    return stale


class TestClaiming:
    async def test_of_many_claimers_one_gets_the_row(self, harness: WorkerHarness) -> None:
        await harness.new_job()
        claimed = await asyncio.gather(*(claim(harness) for _ in range(CLAIMERS)))
        assert sum(map(len, claimed)) == 1

    async def test_many_rows_are_shared_out_without_overlap(self, harness: WorkerHarness) -> None:
        same = await harness.new_file()
        jobs = {await harness.new_job(training=same) for _ in range(12)}
        claimed = await asyncio.gather(*(claim(harness, limit=4) for _ in range(CLAIMERS)))
        rows = [each.row.id for part in claimed for each in part]
        assert len(rows) == len(set(rows))
        rows += [each.row.id for each in await claim(harness, limit=12)]
        assert set(rows) == jobs

    async def test_of_many_that_take_over_one_gets_the_row(self, harness: WorkerHarness) -> None:
        await harness.new_job()
        [first] = await claim(harness)
        assert await claim(harness) == []
        await harness.end_leases()
        claimed = [each for part in await asyncio.gather(*(claim(harness) for _ in range(CLAIMERS))) for each in part]
        assert [each.token for each in claimed] == [first.token + 1]


class TestTheFence:
    async def test_a_former_holder_writes_nothing(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        stale = await taken_over(harness, job_id)
        before = await harness.job(job_id)
        writes: list[Callable[[AsyncSession], Awaitable[None]]] = [
            lambda session: leases.write(session, stale, {"failures": 9}),
            lambda session: leases.give_back(session, stale, {"failures": 9}, due_in_seconds=None),
            lambda session: apply_transition(session, stale, Transition.failed(JobError("internal_error", "no"))),
        ]
        for write in writes:
            with pytest.raises(LeaseLost):
                async with harness.ctx.db.worker() as session:
                    await write(session)
        after = await harness.job(job_id)
        assert (after.state, after.due_at, after.lease_token) == (before.state, before.due_at, before.lease_token)
        assert after.failures == 0

    async def test_a_former_holder_sends_nothing(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        await harness.until(job_id, "creating")
        stale = await taken_over(harness, job_id)
        with pytest.raises(LeaseLost):
            await create(await harness.at_account(), stale)
        assert harness.upstream.creates() == []

    async def test_control_without_the_fence_it_does_both(
        self, harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unfenced(self: Claim[Any]) -> ColumnElement[bool]:
            mine: ColumnElement[bool] = self.table.id == self.row.id
            return mine

        job_id = await harness.new_job()
        await harness.until(job_id, "creating")
        stale = await taken_over(harness, job_id)
        current = await harness.job(job_id)
        monkeypatch.setattr(Claim, "held", unfenced)
        async with harness.ctx.db.worker() as session:
            await leases.write(session, stale, {"failures": 9})
        assert (await harness.job(job_id)).failures == 9
        stale.deadline = time.monotonic() + 60
        holder = Claim(current, current.lease_token, stale.due_at, 30.0, stale.deadline)
        harness.upstream.fault(CREATE, None, late=NEVER)
        ctx = await harness.at_account()
        sending = asyncio.create_task(create(ctx, stale))
        await eventually(harness.upstream.creates)
        await create(ctx, holder)
        harness.upstream.release()
        await asyncio.gather(sending, return_exceptions=True)
        assert len(harness.upstream.alive(job_id)) == 2, "two workers, two upstream jobs"

    async def test_an_answer_that_comes_after_a_takeover_is_remembered_and_not_recorded(
        self, harness: WorkerHarness
    ) -> None:
        harness.upstream.fault(CREATE, None, late=NEVER)
        job_id = await harness.new_job()
        await harness.until(job_id, "creating")
        slow = await harness.claim(job_id)
        assert slow is not None
        sending = asyncio.create_task(advance(harness.ctx, slow))
        await eventually(harness.upstream.creates)
        await harness.end_leases()
        other = await harness.claim(job_id)
        assert other is not None
        harness.upstream.release()
        await sending
        assert [call.upstream_job_id for call in await harness.calls(job_id)] == ["ftjob-up000002"]
        job = await harness.job(job_id)
        assert (job.state, job.create_phase, job.upstream_job_id) == ("creating", "intent", None)
        await advance(harness.ctx, other)
        await harness.until_end(job_id)
        await harness.assert_succeeded_once(job_id)
        assert len(harness.upstream.creates()) == 1


class TestTime:
    async def test_a_call_after_the_lease_is_not_made(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        await harness.until(job_id, "creating")
        late = await harness.claim(job_id)
        assert late is not None
        late.deadline = 0.0
        await advance(harness.ctx, late)
        assert harness.upstream.creates() == []
        assert (await harness.job(job_id)).create_phase == "intent"

    async def test_control_without_the_deadline_a_revived_worker_would_send(
        self, harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @asynccontextmanager
        async def timeless(self: Claim[Any], timeout_seconds: float) -> AsyncIterator[None]:
            yield

        job_id = await harness.new_job()
        await harness.until(job_id, "creating")
        late = await harness.claim(job_id)
        assert late is not None
        late.deadline = 0.0
        monkeypatch.setattr(Claim, "call", timeless)
        await advance(harness.ctx, late)
        assert len(harness.upstream.creates()) == 1

    async def test_a_heartbeat_keeps_the_lease_beyond_its_length(self, harness: WorkerHarness) -> None:
        await harness.new_job()
        [held] = await claim(harness, lease_seconds=9.0)
        async with leases.heartbeat(harness.ctx.db, held):
            await asyncio.sleep(9.5)
            assert await claim(harness) == []

    async def test_a_heartbeat_stops_the_work_when_another_has_the_row(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        [held] = await claim(harness, lease_seconds=0.6)
        await harness.set_job(job_id, lease_token=held.token + 1)
        with pytest.raises(LeaseLost):
            async with leases.heartbeat(harness.ctx.db, held):
                await asyncio.sleep(30)

    async def test_a_heartbeat_stops_the_work_when_it_cannot_be_renewed_in_time(self, harness: WorkerHarness) -> None:
        """The row is locked by a transaction that does not end, so every renewal waits."""
        job_id = await harness.new_job()
        [held] = await claim(harness, lease_seconds=0.6)
        async with harness.ctx.db.worker() as session:
            await session.get_one(Job, job_id, with_for_update=True)
            with pytest.raises(LeaseLost):
                async with leases.heartbeat(harness.ctx.db, held):
                    await asyncio.sleep(30)

    async def test_a_request_to_run_again_survives_the_giving_back(self, harness: WorkerHarness) -> None:
        job_id = await harness.new_job()
        held = await harness.claim(job_id)
        assert held is not None
        await harness.request_cancel(job_id)
        async with harness.ctx.db.worker() as session:
            await leases.give_back(session, held, {}, due_in_seconds=300.0)
        assert [each.row.id for each in await claim(harness)] == [job_id]
