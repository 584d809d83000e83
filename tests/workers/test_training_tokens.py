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
from tests.workers.harness import TOKENS_PER_EPOCH, Bench


class NoLock(NamedLock):
    """A lock that excludes nobody."""

    def take(self, name: str) -> Select[Any]:
        """Nothing to wait for."""
        return select(1)


def this_month() -> dt.date:
    """The month that jobs count in now."""
    return month_of(dt.datetime.now(dt.UTC))


async def limit(bench: Bench, tokens: int) -> None:
    """Set the month's limit."""
    async with bench.ctx.db.admin() as session:
        await session.merge(ProjectLimits(project_id=bench.project_id, max_training_tokens_per_month=tokens))


async def used(bench: Bench) -> int:
    """What the month has reserved and trained."""
    async with bench.ctx.db.project(bench.project_id) as session:
        return await training_tokens(session, bench.project_id, this_month())


async def reserved_for(bench: Bench, job_id: str) -> int:
    """A job's reservation."""
    async with bench.ctx.db.worker() as session:
        tokens = await session.scalar(select(TrainingTokens.reserved_tokens).where(TrainingTokens.job_id == job_id))
    return int(tokens or 0)


async def test_a_job_reserves_its_upper_bound_and_leaves_what_it_trained(bench: Bench) -> None:
    job_id = await bench.new_job()
    reserved = await reserved_for(bench, job_id)
    assert reserved == await used(bench)
    assert reserved == TOKENS_PER_EPOCH * ((await bench.job(job_id)).n_epochs or 0) * 1.1
    job = await bench.until_end(job_id)
    assert (job.state, await used(bench)) == ("succeeded", job.trained_tokens)


async def test_a_job_that_is_cancelled_in_time_leaves_nothing(bench: Bench) -> None:
    job_id = await bench.new_job()
    await bench.request_cancel(job_id)
    assert (await bench.until_end(job_id)).state == "cancelled"
    assert await used(bench) == 0


async def test_over_the_limit_it_is_refused_and_reserves_no_money(bench: Bench) -> None:
    first = await bench.new_job()
    reserved, money = await used(bench), (await bench.balance()).reserved_micros
    await limit(bench, reserved * 2 - 1)
    with pytest.raises(QuotaExceeded) as refused:
        await bench.new_job()
    assert (refused.value.code, refused.value.should_retry) == ("training_token_limit_exceeded", False)
    assert f"{reserved - 1:,} are left" in refused.value.message
    assert (await used(bench), (await bench.balance()).reserved_micros) == (reserved, money)
    await bench.request_cancel(first)
    await bench.until_end(first)
    assert await bench.new_job(), "there is room again"


async def test_a_job_whose_file_is_checked_later_fails_with_the_same_code(bench: Bench) -> None:
    file_id = await bench.new_file()
    await bench.leave_unchecked(file_id)
    job_id = await bench.new_job(training=file_id)
    await limit(bench, 10)
    await bench.check_step(file_id)
    job = await bench.until(job_id, "failed", "waiting")
    assert (job.state, job.error_code) == ("failed", "training_token_limit_exceeded")
    assert await used(bench) == 0


async def test_exactly_as_many_as_there_is_room_for_however_many_race(bench: Bench) -> None:
    assert await granted(bench) == 3


async def test_control_without_the_lock_more_are_granted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    all_have_read = asyncio.Barrier(bench.ctx.settings.database_pool_size)

    async def read_together(*args: object) -> int:
        tokens = await training_tokens(*args)  # type: ignore[arg-type]
        await all_have_read.wait()
        return tokens

    monkeypatch.setattr(enforcement, "TRAINING_TOKENS", NoLock(TRAINING_TOKENS.seed))
    monkeypatch.setattr(enforcement, "training_tokens", read_together)
    assert await granted(bench) > 3


async def granted(bench: Bench) -> int:
    """How many of many callers at once get their reservation of 110 tokens, where three fit."""
    await limit(bench, 350)
    month = this_month()

    async def reserve(number: int) -> bool:
        try:
            async with bench.ctx.db.project(bench.project_id) as session:
                await enforcement.reserve_tokens(
                    session,
                    project_id=bench.project_id,
                    job_id=f"ftjob-{number}",
                    billable_tokens=100,
                    month=month,
                )
        except QuotaExceeded:
            return False
        return True

    return sum(await asyncio.gather(*(reserve(number) for number in range(bench.ctx.settings.database_pool_size * 4))))
