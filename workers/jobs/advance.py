"""One step of a job, by its state."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import structlog
from sqlalchemy import ColumnElement, or_

from service import fault_points
from service.database import leases
from service.database.leases import Claim, LeaseLost
from service.database.tables import Job
from service.jobs.lifecycle import JobError
from service.states import State
from service.storage import StorageUnavailable
from service.upstreams.accounts import DEFAULT_ACCOUNT, AccountUnusable
from workers.context import AccountContext, Context
from workers.datasets.retry_policy import STORE_UNAVAILABLE, STORE_UNAVAILABLE_SECONDS
from workers.jobs.create import create
from workers.jobs.poll import poll
from workers.jobs.schedule import attend, fail, judge
from workers.jobs.settle import settle
from workers.jobs.upload import upload

log = structlog.get_logger()

MAX_CRASHES = 20
FULL_SECONDS = 1.0
UNUSABLE_SECONDS = 15.0
HARMLESS_TO_FAIL: tuple[State, ...] = ("validating", "waiting", "uploading")
"""States in which nothing exists upstream yet, so that giving up cannot lose anything."""


def claimable(ctx: Context, row_id: str | None = None) -> Sequence[ColumnElement[bool]]:
    """Which jobs may be claimed now: those whose account this worker has room for."""
    full = ctx.bulkhead.full()
    return [or_(Job.account_id.is_(None), Job.account_id.not_in(full), Job.state == "waiting")] if full else []


async def advance(ctx: Context, claimed: Claim[Job]) -> None:
    """Do what the claimed job's state needs. A step that breaks is tried again later, with growing pauses."""
    job = claimed.row
    structlog.contextvars.bind_contextvars(job_id=job.id, project_id=job.project_id)
    try:
        try:
            await _step(ctx, claimed)
        except StorageUnavailable as error:
            log.warning("job.waits_for_the_store", state=job.state, error=str(error))
            await _put_back(ctx, claimed, {"waiting_reason": STORE_UNAVAILABLE}, STORE_UNAVAILABLE_SECONDS)
    except LeaseLost:
        log.info("job.taken_over", state=job.state)
    except Exception as error:
        log.error("job.step_broke", state=job.state, failures=job.failures + 1, exc_info=error)
        await _after_crash(ctx, claimed, error)


async def _step(ctx: Context, claimed: Claim[Job]) -> None:
    match cast("State", claimed.row.state):
        case "validating":
            await judge(ctx, claimed)
            fault_points.point("judge.committed")
        case "waiting":
            await attend(ctx, claimed)
            fault_points.point("admissions.attended")
        case "uploading":
            await _at_its_account(ctx, claimed, upload)
        case "creating":
            await _at_its_account(ctx, claimed, create)
        case "running":
            await _at_its_account(ctx, claimed, poll)
        case "settling":
            await _at_its_account(ctx, claimed, settle)
        case "succeeded" | "failed" | "cancelled":
            async with ctx.db.worker() as session:
                await leases.give_back(session, claimed, {}, due_in_seconds=None)


async def _at_its_account(
    ctx: Context, claimed: Claim[Job], step: Callable[[AccountContext, Claim[Job]], Awaitable[None]]
) -> None:
    """Do a step that calls the job's account, unless enough steps of this worker wait for that account already."""
    account_id = claimed.row.account_id or DEFAULT_ACCOUNT
    with ctx.bulkhead.take(account_id) as free:
        if not free:
            await _put_back(ctx, claimed, {}, FULL_SECONDS)
            return
        try:
            upstream = await ctx.accounts.get(account_id)
        except AccountUnusable as error:
            await _put_back(ctx, claimed, {"waiting_reason": str(error)}, UNUSABLE_SECONDS)
            return
        await step(ctx.at(upstream), claimed)


async def _put_back(ctx: Context, claimed: Claim[Job], values: dict[str, Any], seconds: float) -> None:
    async with ctx.db.worker() as session:
        await leases.give_back(session, claimed, values, due_in_seconds=seconds)


async def _after_crash(ctx: Context, claimed: Claim[Job], error: Exception) -> None:
    job = claimed.row
    failures = job.failures + 1
    try:
        async with ctx.db.worker() as session:
            if failures >= MAX_CRASHES and job.state in HARMLESS_TO_FAIL:
                reason = "Something on our side kept failing. The platform team can see why by this job's id."
                await fail(session, claimed, JobError("internal_error", reason))
            else:
                await leases.give_back(
                    session, claimed, {"failures": failures}, due_in_seconds=min(2.0**failures, 60.0)
                )
    except LeaseLost:
        log.info("job.taken_over", state=job.state)
    except Exception as second:
        log.error("job.not_given_back", error=repr(second), first=repr(error))
