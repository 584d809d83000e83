"""Cancels orphaned upstream jobs: those that carry our labels but are not the upstream job of the job that they name.

Only an upstream job with this gateway's instance and the id of a job in this database is cancelled, and only if another
upstream job is recorded for that job. Every other one is only logged: a restored copy of the database must never cancel
production's jobs.
"""

import asyncio
import time

import structlog
from prometheus_client import Counter
from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert

from service import fault_points
from service.database.tables import Job, UpstreamCall
from service.ids import new_id
from service.jobs.lifecycle import upstream_end
from service.states import ENDED
from service.upstreams.accounts import AccountUnusable, account_ids
from service.upstreams.labels import GATEWAY, JOB, attempt_of
from service.upstreams.port import UpstreamError, UpstreamJob
from workers.context import AccountContext, Context

log = structlog.get_logger()

ACCOUNT_TIMEOUT_SECONDS = 300.0
"""The time limit for one account."""

MAX_AGE_SECONDS = 7 * 86400.0
"""Upstream jobs created before this are not listed, so that the cost does not grow with the gateway's history."""

CANCELLED = Counter("tunegate_orphaned_upstream_jobs_cancelled_total", "Orphaned upstream jobs that were cancelled.")


async def cancel_orphaned_jobs(ctx: Context) -> int:
    """Cancel the orphaned upstream jobs of all accounts, which do not delay one another. Returns their number."""
    async with ctx.db.worker() as session:
        ids = await account_ids(session)
    found = await asyncio.gather(*(_at_account(ctx, account_id) for account_id in ids))
    return sum(found)


async def _at_account(ctx: Context, account_id: str) -> int:
    try:
        async with asyncio.timeout(ACCOUNT_TIMEOUT_SECONDS):
            return await _cancel_orphaned_jobs_at(ctx.at(await ctx.accounts.get(account_id)))
    except (UpstreamError, AccountUnusable, TimeoutError) as error:
        log.info("orphan.not_listed", account=account_id, error=str(error))
    except Exception as error:
        log.error("orphan.failed", account=account_id, exc_info=error)
    return 0


async def _cancel_orphaned_jobs_at(ctx: AccountContext) -> int:
    ours = await ctx.upstream.find_jobs({GATEWAY: ctx.instance}, since=time.time() - MAX_AGE_SECONDS)
    alive = [job for job in ours if upstream_end(job.status) is None]
    found = 0
    for each in alive:
        if await _is_orphan(ctx, each):
            found += 1
            fault_points.point("orphan.found")
            await _cancel(ctx, each)
    return found


async def _is_orphan(ctx: AccountContext, each: UpstreamJob) -> bool:
    async with ctx.db.worker() as session:
        job = await session.get(Job, each.metadata.get(JOB, ""))
        if job is None:
            log.error("orphan.unknown_job", upstream_job=each.id, job=each.metadata.get(JOB))
            return False
        if job.upstream_job_id is None:
            orphan = job.state in ENDED
        else:
            orphan = job.upstream_job_id != each.id
            if not orphan and job.state in ENDED:
                log.error("orphan.job_ended", upstream_job=each.id, job=job.id)
        if orphan:
            await session.execute(
                insert(UpstreamCall)
                .values(
                    id=new_id("call-"),
                    project_id=job.project_id,
                    job_id=job.id,
                    account_id=ctx.upstream.account_id,
                    attempt=attempt_of(each.metadata),
                    upstream_job_id=each.id,
                )
                .on_conflict_do_nothing(index_elements=["job_id", "upstream_job_id"])
            )
    return orphan


async def _cancel(ctx: AccountContext, each: UpstreamJob) -> None:
    try:
        await ctx.upstream.cancel_job(each.id)
    except UpstreamError as error:
        log.error("orphan.cancel_failed", upstream_job=each.id, error=str(error))
        return
    fault_points.point("orphan.cancelled")
    CANCELLED.inc()
    log.warning("orphan.cancelled", upstream_job=each.id, job=each.metadata.get(JOB))
    async with ctx.db.worker() as session:
        await session.execute(
            update(UpstreamCall)
            .where(
                UpstreamCall.account_id == ctx.upstream.account_id,
                UpstreamCall.upstream_job_id == each.id,
                UpstreamCall.cancelled_as_orphan_at.is_(None),
            )
            .values(cancelled_as_orphan_at=func.now())
        )
