"""Training tokens of a month: reserved when a job is accepted, replaced by what was trained when it ends."""

import asyncio
import datetime as dt
from typing import Any

import pytest
from sqlalchemy import Select, select

from service.billing.actions import month_of
from service.database.advisory_locks import TRAINING_TOKENS, NamedLock
from service.database.tables import ProjectLimits, TrainingTokens
from service.errors import QuotaExceeded
from service.limits import enforcement
from service.limits.queries import training_tokens
from tests.workers.harness import TOKENS_PER_EPOCH, WorkerHarness


class NoLock(NamedLock):
    """A lock that excludes nobody."""

    def take(self, name: str) -> Select[Any]:
        """Nothing to wait for."""
        return select(1)


def this_month() -> dt.date:
    """The month that jobs count in now."""
    return month_of(dt.datetime.now(dt.UTC))


async def limit(harness: WorkerHarness, tokens: int) -> None:
    """Set the month's limit."""
    async with harness.ctx.db.admin() as session:
        await session.merge(ProjectLimits(project_id=harness.project_id, max_training_tokens_per_month=tokens))


async def used(harness: WorkerHarness) -> int:
    """What the month has reserved and trained."""
    async with harness.ctx.db.project(harness.project_id) as session:
        return await training_tokens(session, harness.project_id, this_month())


async def reserved_for(harness: WorkerHarness, job_id: str) -> int:
    """A job's reservation."""
    async with harness.ctx.db.worker() as session:
        tokens = await session.scalar(select(TrainingTokens.reserved_tokens).where(TrainingTokens.job_id == job_id))
    return int(tokens or 0)


async def test_a_job_reserves_its_upper_bound_and_leaves_what_it_trained(harness: WorkerHarness) -> None:
    job_id = await harness.new_job()
    reserved = await reserved_for(harness, job_id)
    assert reserved == await used(harness)
    assert reserved == TOKENS_PER_EPOCH * ((await harness.job(job_id)).n_epochs or 0) * 1.1
    job = await harness.until_end(job_id)
    assert (job.state, await used(harness)) == ("succeeded", job.trained_tokens)


async def test_a_job_that_is_cancelled_in_time_leaves_nothing(harness: WorkerHarness) -> None:
    job_id = await harness.new_job()
    await harness.request_cancel(job_id)
    assert (await harness.until_end(job_id)).state == "cancelled"
    assert await used(harness) == 0


async def test_over_the_limit_it_is_refused_and_reserves_no_money(harness: WorkerHarness) -> None:
    first = await harness.new_job()
    reserved, money = await used(harness), (await harness.balance()).reserved_micros
    await limit(harness, reserved * 2 - 1)
    with pytest.raises(QuotaExceeded) as refused:
        await harness.new_job()
    assert (refused.value.code, refused.value.should_retry) == ("training_token_limit_exceeded", False)
    assert f"{reserved - 1:,} are left" in refused.value.message
    assert (await used(harness), (await harness.balance()).reserved_micros) == (reserved, money)
    await harness.request_cancel(first)
    await harness.until_end(first)
    assert await harness.new_job(), "there is room again"


async def test_a_job_whose_file_is_checked_later_fails_with_the_same_code(harness: WorkerHarness) -> None:
    file_id = await harness.new_file()
    await harness.leave_unchecked(file_id)
    job_id = await harness.new_job(training=file_id)
    await limit(harness, 10)
    await harness.check_step(file_id)
    job = await harness.until(job_id, "failed", "waiting")
    assert (job.state, job.error_code) == ("failed", "training_token_limit_exceeded")
    assert await used(harness) == 0


async def test_exactly_as_many_as_there_is_room_for_however_many_race(harness: WorkerHarness) -> None:
    assert await granted(harness) == 3


async def test_control_without_the_lock_more_are_granted(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_have_read = asyncio.Barrier(harness.concurrent_transactions)

    async def read_together(*args: object) -> int:
        tokens = await training_tokens(*args)  # type: ignore[arg-type]
        await all_have_read.wait()
        return tokens

    monkeypatch.setattr(enforcement, "TRAINING_TOKENS", NoLock(TRAINING_TOKENS.seed))
    monkeypatch.setattr(enforcement, "training_tokens", read_together)
    assert await granted(harness) > 3


async def granted(harness: WorkerHarness) -> int:
    """How many of many callers at once get their reservation of 110 tokens, where three fit."""
    await limit(harness, 350)
    month = this_month()

    async def reserve(number: int) -> bool:
        try:
            async with harness.ctx.db.project(harness.project_id) as session:
                await enforcement.reserve_tokens(
                    session,
                    project_id=harness.project_id,
                    job_id=f"ftjob-{number}",
                    billable_tokens=100,
                    month=month,
                )
        except QuotaExceeded:
            return False
        return True

    return sum(await asyncio.gather(*(reserve(number) for number in range(harness.concurrent_transactions * 10))))
