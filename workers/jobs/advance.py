"""One step of a job: the function for its state, within the account's bulkhead, and what follows when it crashes."""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

import structlog
from sqlalchemy import Select, and_, or_, tuple_

from service import fault_points
from service.backoff import backoff_seconds
from service.database import leases
from service.database.fair_claims import longest_due
from service.database.leases import Claim, LeaseLost
from service.database.tables import Job
from service.jobs.lifecycle import JobError
from service.states import State
from service.storage import StorageUnavailable
from service.upstreams.accounts import DEFAULT_ACCOUNT, AccountUnusable
from workers.context import AccountContext, Context
from workers.datasets.retry_policy import STORE_UNAVAILABLE, STORE_UNAVAILABLE_SECONDS
from workers.jobs.create import create
from workers.jobs.end_unbilled import fail_unbilled
from workers.jobs.poll import poll
from workers.jobs.settle import settle
from workers.jobs.upload import upload
from workers.jobs.validate import validate
from workers.jobs.wait import wait

log = structlog.get_logger()

MAX_CRASHES = 20
MAX_BACKOFF_SECONDS = 60.0
BULKHEAD_FULL_SECONDS = 1.0
UNUSABLE_SECONDS = 15.0
BEFORE_UPSTREAM_JOB: tuple[State, ...] = ("validating", "waiting", "uploading")
"""States in which no upstream job exists, so that failing the job loses nothing."""


def due_jobs(ctx: Context) -> Select[Any]:
    """The jobs that may be claimed now: those for whose account the bulkhead has room for a step."""
    accounts, pairs = ctx.bulkhead.full()
    if not accounts and not pairs:
        return _all_due_jobs()
    has_room = and_(Job.account_id.not_in(accounts), tuple_(Job.project_id, Job.account_id).not_in(pairs))
    return longest_due(Job, [or_(Job.account_id.is_(None), has_room, Job.state == "waiting")])


@cache
def _all_due_jobs() -> Select[Any]:
    return longest_due(Job)


async def advance(ctx: Context, claimed: Claim[Job]) -> None:
    """Run the step of the claimed job's state. A step that crashes is repeated after growing pauses."""
    job = claimed.row
    structlog.contextvars.bind_contextvars(job_id=job.id, project_id=job.project_id)
    try:
        try:
            await _step(ctx, claimed)
        except StorageUnavailable as error:
            log.warning("job.storage_unavailable", state=job.state, error=str(error))
            await _give_back(ctx, claimed, {"waiting_reason": STORE_UNAVAILABLE}, STORE_UNAVAILABLE_SECONDS)
    except LeaseLost:
        log.info("job.taken_over", state=job.state)
    except Exception as error:
        log.error("job.step_failed", state=job.state, failures=job.failures + 1, exc_info=error)
        await _after_crash(ctx, claimed, error)


async def _step(ctx: Context, claimed: Claim[Job]) -> None:
    match claimed.row.state:
        case "validating":
            await validate(ctx, claimed)
            fault_points.point("validate.committed")
        case "waiting":
            await wait(ctx, claimed)
            fault_points.point("wait.committed")
        case "uploading":
            await _with_upstream(ctx, claimed, upload)
        case "creating":
            await _with_upstream(ctx, claimed, create)
        case "running":
            await _with_upstream(ctx, claimed, poll)
        case "settling":
            await _with_upstream(ctx, claimed, settle)
        case "succeeded" | "failed" | "cancelled":
            async with ctx.db.worker() as session:
                await leases.give_back(session, claimed, {}, due_in_seconds=None)


async def _with_upstream(
    ctx: Context, claimed: Claim[Job], step: Callable[[AccountContext, Claim[Job]], Awaitable[None]]
) -> None:
    """Run a step that calls the job's account, unless the bulkhead has no room for another step of that account."""
    account_id = claimed.row.account_id or DEFAULT_ACCOUNT
    with ctx.bulkhead.enter(claimed.row.project_id, account_id) as entered:
        if not entered:
            await _give_back(ctx, claimed, {}, BULKHEAD_FULL_SECONDS)
            return
        try:
            upstream = await ctx.accounts.get(account_id)
        except AccountUnusable as error:
            await _give_back(ctx, claimed, {"waiting_reason": str(error)}, UNUSABLE_SECONDS)
            return
        await step(ctx.at(upstream), claimed)


async def _give_back(ctx: Context, claimed: Claim[Job], values: dict[str, Any], seconds: float) -> None:
    async with ctx.db.worker() as session:
        await leases.give_back(session, claimed, values, due_in_seconds=seconds)


async def _after_crash(ctx: Context, claimed: Claim[Job], error: Exception) -> None:
    job = claimed.row
    failures = job.failures + 1
    try:
        async with ctx.db.worker() as session:
            if failures >= MAX_CRASHES and job.state in BEFORE_UPSTREAM_JOB:
                reason = "An internal error kept recurring. The platform team can find its cause by this job's id."
                await fail_unbilled(session, claimed, JobError("internal_error", reason))
            else:
                await leases.give_back(
                    session,
                    claimed,
                    {"failures": failures},
                    due_in_seconds=backoff_seconds(failures, max_seconds=MAX_BACKOFF_SECONDS),
                )
    except LeaseLost:
        log.info("job.taken_over", state=job.state)
    except Exception as other_error:
        log.error("job.not_given_back", error=repr(other_error), step_error=repr(error))
