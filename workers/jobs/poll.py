"""`running` → `settling`: look at the upstream's job, pass on what the caller asks, write down what is new."""

import datetime as dt
import random

import structlog
from prometheus_client import Counter
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database import leases
from service.database.leases import Claim
from service.database.tables import Job
from service.jobs.last_viewed import RECENTLY_VIEWED
from service.jobs.lifecycle import upstream_end
from service.jobs.record import Move, NewEvent, add_events, move, tell
from service.upstreams.poll_schedule import REQUESTS_PER_POLL, Load, next_poll_seconds
from service.upstreams.port import Refused, UpstreamError
from workers.context import AccountContext
from workers.jobs import cool_down, poll_limiter
from workers.jobs.poll_limiter import Standing
from workers.jobs.sync import Updates, fetch_updates, write_updates

log = structlog.get_logger()

LOST_AFTER = 6
"""How many times the upstream may say that it does not know the job before that is believed. The pauses between double:
with production's polls it is some eight minutes."""

LOST_STATUS = "lost"

SCATTER = 2.0
"""Over so many pauses between looks are those scattered that the budget puts off."""

PUT_OFF = Counter("tunegate_polls_put_off_total", "Looks that an account's budget had no room for.", ["account"])


async def poll(ctx: AccountContext, claimed: Claim[Job]) -> None:
    """One look within the account's budget; a job that has ended upstream goes on to settle."""
    async with leases.heartbeat(ctx.db, claimed):
        wished = _wishes(claimed.row)
        requests = REQUESTS_PER_POLL + wished
        base = ctx.settings.poll_seconds
        account = ctx.upstream.account_id
        if claimed.row.polled_at is None and not wished and not _watched(claimed.row):
            load = await poll_limiter.look_up(ctx.db, account, base_seconds=base)
            if load.listing:  # a list tells of it from now on
                await _leave_to_the_list(ctx, claimed, load)
                return
        standing = await poll_limiter.take(ctx.db, account, requests=requests, base_seconds=base, borrow=wished)
        if not standing.allowed:
            await _put_off(ctx, claimed, standing)
            return
        try:
            asked = await _pass_on(ctx, claimed)
            news = await fetch_updates(ctx, claimed, complete=False, ends_alone=standing.load.listing)
        except (UpstreamError, TimeoutError) as error:
            await _not_told(ctx, claimed, error)
            return
        fault_points.point("poll.told")
        if news.requests > REQUESTS_PER_POLL:
            more = news.requests - REQUESTS_PER_POLL
            await poll_limiter.take(ctx.db, account, requests=more, base_seconds=base, borrow=True)
        async with ctx.db.worker() as session:
            values = {**await write_updates(ctx, session, claimed, news), **asked}
            if upstream_end(news.job.status) is not None:
                await move(
                    session,
                    claimed,
                    Move(to="settling", message="The upstream has ended the job; closing its books", values=values),
                )
            else:
                seconds = _next_look_seconds(ctx, claimed, standing.load, news)
                await leases.give_back(session, claimed, values, due_in_seconds=seconds)
            await _tell_running(session, claimed.row, news)
        fault_points.point("poll.recorded")


def _wishes(job: Job) -> bool:
    """Whether a caller wants something of the job that the upstream has not done yet."""
    return job.cancel_requested_at is not None or job.pause_requested != job.pause_sent


def _next_look_seconds(ctx: AccountContext, claimed: Claim[Job], load: Load, news: Updates) -> float:
    job, now = claimed.row, dt.datetime.now(dt.UTC)
    since = max(moment for moment in (job.started_at, job.admitted_at, job.created_at) if moment is not None)
    finish = news.job.estimated_finish
    return next_poll_seconds(
        ctx.settings.poll_seconds,
        age_seconds=(now - since).total_seconds(),
        left_seconds=finish - now.timestamp() if finish else None,
        recently_viewed=_watched(job),
        request_pending=_wishes(job),
        load=load,
    )


def _watched(job: Job) -> bool:
    return job.last_viewed_at is not None and dt.datetime.now(dt.UTC) - job.last_viewed_at < RECENTLY_VIEWED


async def _leave_to_the_list(ctx: AccountContext, claimed: Claim[Job], load: Load) -> None:
    """The create's answer was the first look; whoever makes the job due from now on wants another."""
    seconds = next_poll_seconds(
        ctx.settings.poll_seconds,
        age_seconds=0,
        left_seconds=None,
        recently_viewed=False,
        request_pending=False,
        load=load,
    )
    async with ctx.db.worker() as session:
        values = {"failures": 0, "polled_at": func.clock_timestamp()}
        await leases.give_back(session, claimed, values, due_in_seconds=seconds)


async def _put_off(ctx: AccountContext, claimed: Claim[Job], standing: Standing) -> None:
    """Look again when the budget has room; not all at once, when there are many."""
    seconds = standing.wait_seconds + random.uniform(0, SCATTER * ctx.settings.poll_seconds)  # noqa: S311
    PUT_OFF.labels(ctx.upstream.account_id).inc()
    async with ctx.db.worker() as session:
        await leases.give_back(session, claimed, {}, due_in_seconds=seconds)


async def _pass_on(ctx: AccountContext, claimed: Claim[Job]) -> dict[str, object]:
    """Pass the caller's wish on. Returns what to remember of it.

    A wish that cannot be passed on waits for the next look: a job must be able to end without it.
    """
    try:
        told = await _wish(ctx, claimed)
    except (UpstreamError, TimeoutError) as error:
        log.warning("poll.wish_not_passed_on", job=claimed.row.id, error=str(error))
        return {}
    if claimed.row.cancel_requested_at is not None or told:
        fault_points.point("poll.wish_sent")
    return told


async def _wish(ctx: AccountContext, claimed: Claim[Job]) -> dict[str, object]:
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


async def _tell_running(session: AsyncSession, job: Job, news: Updates) -> None:
    if job.started_at is not None or news.job.status not in ("running", "succeeded"):
        return
    row = await session.get_one(Job, job.id, populate_existing=True)
    row.started_at = await session.scalar(func.clock_timestamp().select())
    await session.flush()
    await tell(session, row, "fine_tuning.job.running")


async def _not_told(ctx: AccountContext, claimed: Claim[Job], error: UpstreamError | TimeoutError) -> None:
    kind = error.kind if isinstance(error, UpstreamError) else "away"
    seconds = ctx.settings.poll_seconds
    failures = claimed.row.failures
    if kind in ("auth", "quota", "rate_limit"):
        retry_after = error.retry_after_seconds if isinstance(error, UpstreamError) else None
        hold = await cool_down.after_refusal(ctx, Refused(kind, kind, str(error), retry_after_seconds=retry_after))
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
        await leases.give_back(session, claimed, {"failures": failures}, due_in_seconds=seconds)
