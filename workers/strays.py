"""Our marks on upstream jobs, and the sweep that cancels what carries them without being anybody's job.

The sweep cancels only what carries this gateway's instance and the id of a job that we know, and whose recorded
upstream job is another one. Everything else it reports: a restored copy of the database must never cancel the jobs of
production.
"""

import time

import structlog
from prometheus_client import Counter
from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert

from service.ids import new_id
from service.jobs.lifecycle import ENDED, upstream_end
from service.tables import Job, UpstreamCall
from service.upstream.port import UpstreamError, UpstreamJob
from workers.context import Context

log = structlog.get_logger()

GATEWAY = "tunegate_gateway"
JOB = "tunegate_job"
ATTEMPT = "tunegate_attempt"

SWEPT_SECONDS = 7 * 86400.0
"""How far back the sweep looks, so that its cost does not grow with the gateway's history."""

CANCELLED = Counter("tunegate_strays_cancelled_total", "Upstream jobs that belonged to nobody and were cancelled.")


def marks(instance: str, job_id: str, attempt: int) -> dict[str, str]:
    """The metadata of an upstream job: exactly our three keys; the caller's own stay with us."""
    return {GATEWAY: instance, JOB: job_id, ATTEMPT: str(attempt)}


def attempt_of(job: UpstreamJob) -> int:
    """The attempt that made an upstream job, by its mark."""
    mark = job.metadata.get(ATTEMPT, "")
    return int(mark) if mark.isdecimal() and len(mark) < 10 else 0


async def sweep(ctx: Context) -> int:
    """Cancel strays at the account. Returns how many were found."""
    try:
        ours = await ctx.upstream.find_jobs({GATEWAY: ctx.instance}, since=time.time() - SWEPT_SECONDS)
    except UpstreamError as error:
        log.info("strays.not_looked", error=str(error))
        return 0
    alive = [job for job in ours if upstream_end(job.status) is None]
    found = 0
    for each in alive:
        if await _is_stray(ctx, each):
            found += 1
            await _cancel(ctx, each)
    return found


async def _is_stray(ctx: Context, each: UpstreamJob) -> bool:
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
                    attempt=attempt_of(each),
                    upstream_job_id=each.id,
                )
                .on_conflict_do_nothing(index_elements=["job_id", "upstream_job_id"])
            )
    return stray


async def _cancel(ctx: Context, each: UpstreamJob) -> None:
    try:
        await ctx.upstream.cancel_job(each.id)
    except UpstreamError as error:
        log.error("strays.not_cancelled", upstream_job=each.id, error=str(error))
        return
    CANCELLED.inc()
    log.warning("strays.cancelled", upstream_job=each.id, job=each.metadata.get(JOB))
    async with ctx.db.worker() as session:
        await session.execute(
            update(UpstreamCall)
            .where(UpstreamCall.upstream_job_id == each.id, UpstreamCall.cancelled_as_stray_at.is_(None))
            .values(cancelled_as_stray_at=func.now())
        )
