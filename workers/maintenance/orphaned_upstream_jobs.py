"""The sweep that cancels upstream jobs which carry our marks without being anybody's job.

The sweep cancels only what carries this gateway's instance and the id of a job that we know, and whose recorded
upstream job is another one. Everything else it reports: a restored copy of the database must never cancel the jobs of
production.
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

ACCOUNT_SECONDS = 300.0
"""The whole look at one account."""

SWEPT_SECONDS = 7 * 86400.0
"""How far back the sweep looks, so that its cost does not grow with the gateway's history."""

CANCELLED = Counter("tunegate_strays_cancelled_total", "Upstream jobs that belonged to nobody and were cancelled.")


async def sweep(ctx: Context) -> int:
    """Cancel strays at every account, all at a time, so that one that hangs holds no other up. Returns how many."""
    async with ctx.db.worker() as session:
        ids = await account_ids(session)
    found = await asyncio.gather(*(_sweep_one(ctx, account_id) for account_id in ids))
    return sum(found)


async def _sweep_one(ctx: Context, account_id: str) -> int:
    try:
        async with asyncio.timeout(ACCOUNT_SECONDS):
            return await _cancel_strays(ctx.at(await ctx.accounts.get(account_id)))
    except (UpstreamError, AccountUnusable, TimeoutError) as error:
        log.info("strays.not_looked", account=account_id, error=str(error))
    except Exception as error:
        log.error("strays.sweep_broke", account=account_id, exc_info=error)
    return 0


async def _cancel_strays(ctx: AccountContext) -> int:
    ours = await ctx.upstream.find_jobs({GATEWAY: ctx.instance}, since=time.time() - SWEPT_SECONDS)
    alive = [job for job in ours if upstream_end(job.status) is None]
    found = 0
    for each in alive:
        if await _is_stray(ctx, each):
            found += 1
            fault_points.point("stray.found")
            await _cancel(ctx, each)
    return found


async def _is_stray(ctx: AccountContext, each: UpstreamJob) -> bool:
    async with ctx.db.worker() as session:
        job = await session.get(Job, each.metadata.get(JOB, ""))
        if job is None:
            log.error("strays.unknown_job", upstream_job=each.id, job=each.metadata.get(JOB))
            return False
        if job.upstream_job_id is None:
            stray = job.state in ENDED
        else:
            stray = job.upstream_job_id != each.id
            if not stray and job.state in ENDED:
                log.error("strays.outlives_its_job", upstream_job=each.id, job=job.id)
        if stray:
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
    return stray


async def _cancel(ctx: AccountContext, each: UpstreamJob) -> None:
    try:
        await ctx.upstream.cancel_job(each.id)
    except UpstreamError as error:
        log.error("strays.not_cancelled", upstream_job=each.id, error=str(error))
        return
    fault_points.point("stray.cancelled")
    CANCELLED.inc()
    log.warning("strays.cancelled", upstream_job=each.id, job=each.metadata.get(JOB))
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
