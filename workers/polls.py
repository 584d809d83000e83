"""`running` → `settling`: look at the upstream's job, pass on what the caller asks, write down what is new."""

import structlog
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from service import claims, faults
from service.claims import Claim
from service.jobs.lifecycle import upstream_end
from service.jobs.record import Move, NewEvent, add_events, move, tell
from service.tables import Job
from service.upstream.port import Refused, UpstreamError
from workers import holds
from workers.context import Context
from workers.news import News, look, write_news

log = structlog.get_logger()

LOST_AFTER = 6
"""How many times the upstream may say that it does not know the job before that is believed. The pauses between double:
with production's polls it is some eight minutes."""

LOST_STATUS = "lost"


async def poll(ctx: Context, claimed: Claim[Job]) -> None:
    """One look; a job that has ended upstream goes on to settle."""
    async with claims.heartbeat(ctx.db, claimed):
        try:
            asked = await _pass_on(ctx, claimed)
            news = await look(ctx, claimed, complete=False)
        except (UpstreamError, TimeoutError) as error:
            await _not_told(ctx, claimed, error)
            return
        faults.point("poll.told")
        async with ctx.db.worker() as session:
            values = {**await write_news(ctx, session, claimed, news), **asked}
            if upstream_end(news.job.status) is not None:
                await move(
                    session,
                    claimed,
                    Move(to="settling", message="The upstream has ended the job; closing its books", values=values),
                )
            else:
                await claims.give_back(session, claimed, values, due_in_seconds=ctx.settings.poll_seconds)
            await _tell_running(session, claimed.row, news)


async def _pass_on(ctx: Context, claimed: Claim[Job]) -> dict[str, object]:
    """Pass the caller's wish on. Returns what to remember of it.

    A wish that cannot be passed on waits for the next look: a job must be able to end without it.
    """
    try:
        return await _wish(ctx, claimed)
    except (UpstreamError, TimeoutError) as error:
        log.warning("poll.wish_not_passed_on", job=claimed.row.id, error=str(error))
        return {}


async def _wish(ctx: Context, claimed: Claim[Job]) -> dict[str, object]:
    job = claimed.row
    upstream_id = job.upstream_job_id or ""
    seconds = ctx.settings.control_timeout_seconds
    if job.cancel_requested_at is not None:
        async with claimed.call(seconds):
            await ctx.upstream.cancel_job(upstream_id)
        return {}
    if job.pause_requested and not job.pause_sent:
        async with claimed.call(seconds):
            told = await ctx.upstream.pause_job(upstream_id)
        return {"pause_sent": told.status == "paused"}
    if job.pause_sent and not job.pause_requested:
        async with claimed.call(seconds):
            told = await ctx.upstream.resume_job(upstream_id)
        return {"pause_sent": told.status == "paused"}
    return {}


async def _tell_running(session: AsyncSession, job: Job, news: News) -> None:
    if job.started_at is not None or news.job.status not in ("running", "succeeded"):
        return
    row = await session.get_one(Job, job.id, populate_existing=True)
    row.started_at = await session.scalar(func.clock_timestamp().select())
    await session.flush()
    await tell(session, row, "fine_tuning.job.running")


async def _not_told(ctx: Context, claimed: Claim[Job], error: UpstreamError | TimeoutError) -> None:
    kind = error.kind if isinstance(error, UpstreamError) else "away"
    seconds = ctx.settings.poll_seconds
    failures = claimed.row.failures
    if kind in ("auth", "quota", "rate_limit"):
        retry_after = error.retry_after_seconds if isinstance(error, UpstreamError) else None
        hold = await holds.after_refusal(ctx, Refused(kind, kind, str(error), retry_after_seconds=retry_after))
        seconds = max(seconds, hold.seconds)
    elif kind == "not_found":
        seconds *= 2**failures
        failures += 1
    log.warning("poll.not_told", job=claimed.row.id, kind=kind, error=str(error), failures=failures)
    async with ctx.db.worker() as session:
        if failures >= LOST_AFTER:
            await move(
                session,
                claimed,
                Move(
                    to="settling",
                    message="The upstream no longer knows the job",
                    values={"upstream_status": LOST_STATUS},
                ),
            )
            return
        if kind == "not_found":
            event = NewEvent(message="The upstream does not know the job; looking again", level="warn")
            await add_events(session, claimed.row.id, claimed.row.project_id, [event])
        await claims.give_back(session, claimed, {"failures": failures}, due_in_seconds=seconds)
