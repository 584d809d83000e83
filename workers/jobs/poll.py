"""`running` → `settling`: polls the upstream's job, sends callers' requests upstream, and writes updates."""

import datetime as dt
import random
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.backoff import backoff_seconds
from service.billing.prices import dollar_text
from service.database import leases
from service.database.leases import Claim
from service.database.tables import Job
from service.jobs.gpu_metering import is_spent
from service.jobs.last_viewed import RECENTLY_VIEWED
from service.jobs.lifecycle import upstream_end
from service.jobs.record import NewEvent, add_events, apply_transition, emit_webhook
from service.jobs.transitions import Transition
from service.upstreams.poll_schedule import REQUESTS_PER_POLL, Load, is_left_to_lists, next_poll_seconds, snapshot_of
from service.upstreams.port import Refused, UpstreamError, UpstreamEvent, UpstreamJob
from workers.context import AccountContext
from workers.jobs import cool_down, poll_limiter, verdicts
from workers.jobs.figures import training_start
from workers.jobs.poll_limiter import Permit
from workers.jobs.sync import Updates, fetch_updates, job_values, write_updates

log = structlog.get_logger()

LOST_AFTER = 6
"""Polls in a row that must be answered with "not found" before the job counts as lost. The pauses between them double:
with production's settings it takes some eight minutes."""

DEFERRAL_SPREAD = 2.0
"""Polls that the account's poll limit defers are spread over this many times `POLL_SECONDS`."""

DEFERRED = Counter("tunegate_polls_deferred_total", "Polls that an account's poll limit deferred.", ["account"])


async def poll(ctx: AccountContext, claimed: Claim[Job]) -> None:
    """Poll the job once, within the account's poll limit; a job that has ended upstream goes to `settling`."""
    async with leases.heartbeat(ctx.db, claimed):
        pending = _has_pending_request(claimed.row)
        requests = REQUESTS_PER_POLL + pending
        base_seconds = ctx.settings.poll_seconds
        account_id = ctx.upstream.account_id
        if claimed.row.polled_at is None:
            load = await poll_limiter.load_of_account(ctx.db, account_id, base_seconds=base_seconds)
            viewed = _recently_viewed(claimed.row)
            if is_left_to_lists(polled=False, recently_viewed=viewed, request_pending=pending, load=load):
                await _leave_to_lists(ctx, claimed, load)
                return
        permit = await poll_limiter.take(
            ctx.db, account_id, requests=requests, base_seconds=base_seconds, may_exceed=pending
        )
        if not permit.allowed:
            await _defer(ctx, claimed, permit)
            return
        try:
            sent = await _send_pending_request(ctx, claimed)
            updates = await fetch_updates(ctx, claimed, complete=False, skip_details_if_ended=permit.load.listing)
        except (UpstreamError, TimeoutError) as error:
            await _after_failure(ctx, claimed, error)
            return
        fault_points.point("poll.answered")
        if updates.requests > REQUESTS_PER_POLL:
            more = updates.requests - REQUESTS_PER_POLL
            await poll_limiter.take(ctx.db, account_id, requests=more, base_seconds=base_seconds, may_exceed=True)
        async with ctx.db.worker() as session:
            values = {**await write_updates(ctx, session, claimed, updates), **sent}
            if upstream_end(updates.job.status) is None:
                values |= await verdicts.write_running(session, claimed.row, updates.events)
            if upstream_end(updates.job.status) is not None:
                await apply_transition(session, claimed, Transition.to_settling(values))
            elif _has_spent_budget(claimed.row, values):
                await _cancel_at_budget(session, claimed, values)
            else:
                seconds = _seconds_until_next_poll(ctx, claimed, permit.load, updates)
                await leases.give_back(session, claimed, values, due_in_seconds=seconds)
            await _record_start(session, claimed.row, updates.job, updates.events)
        fault_points.point("poll.recorded")


async def record_listed(session: AsyncSession, claimed: Claim[Job], listed: UpstreamJob) -> None:
    """Write what a list shows of a job that was claimed for it. A job that has ended upstream goes to `settling`.

    Its next poll stays due when it was.
    """
    values = job_values(claimed.row, listed, is_unchanged=snapshot_of(listed) == claimed.row.upstream_snapshot)
    if upstream_end(listed.status) is not None:
        await apply_transition(session, claimed, Transition.to_settling(values))
    else:
        await leases.write(session, claimed, {**values, "leased_until": None})
    await _record_start(session, claimed.row, listed, [])


def _has_pending_request(job: Job) -> bool:
    """Whether a caller's cancel, pause or resume has not taken effect at the upstream yet."""
    return job.cancel_requested_at is not None or job.pause_requested != job.pause_sent


def _has_spent_budget(job: Job, values: Mapping[str, Any]) -> bool:
    """Whether a running job has just reached its budget. Its cancel is requested once."""
    return job.cancel_requested_at is None and is_spent(
        job.budget_micros,
        gpu_seconds=values["gpu_seconds"],
        price_micros_per_gpu_second=job.price_micros_per_gpu_second,
    )


async def _cancel_at_budget(session: AsyncSession, claimed: Claim[Job], values: Mapping[str, Any]) -> None:
    """Request the job's cancel, which the next poll sends at once."""
    job = claimed.row
    budget = dollar_text(job.budget_micros or 0)
    event = NewEvent(message=f"The job has cost its budget of {budget}; it is cancelled", level="warn")
    await add_events(session, job.id, job.project_id, [event])
    await leases.give_back(session, claimed, {**values, "cancel_requested_at": func.now()}, due_in_seconds=0.0)


def _seconds_until_next_poll(ctx: AccountContext, claimed: Claim[Job], load: Load, updates: Updates) -> float:
    job, now = claimed.row, dt.datetime.now(dt.UTC)
    since = max(moment for moment in (job.started_at, job.admitted_at, job.created_at) if moment is not None)
    finish = updates.job.estimated_finish
    return next_poll_seconds(
        ctx.settings.poll_seconds,
        age_seconds=(now - since).total_seconds(),
        left_seconds=finish - now.timestamp() if finish else None,
        recently_viewed=_recently_viewed(job),
        request_pending=_has_pending_request(job),
        load=load,
    )


def _recently_viewed(job: Job) -> bool:
    return job.last_viewed_at is not None and dt.datetime.now(dt.UTC) - job.last_viewed_at < RECENTLY_VIEWED


async def _leave_to_lists(ctx: AccountContext, claimed: Claim[Job], load: Load) -> None:
    """Skip the first poll: the create's response had the same contents, and lists show updates from now on."""
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


async def _defer(ctx: AccountContext, claimed: Claim[Job], permit: Permit) -> None:
    """Poll when the limit allows it; deferred jobs are spread, so that they are not all due at once."""
    seconds = permit.wait_seconds + random.uniform(0, DEFERRAL_SPREAD * ctx.settings.poll_seconds)  # noqa: S311
    DEFERRED.labels(ctx.upstream.account_id).inc()
    async with ctx.db.worker() as session:
        await leases.give_back(session, claimed, {}, due_in_seconds=seconds)


async def _send_pending_request(ctx: AccountContext, claimed: Claim[Job]) -> dict[str, object]:
    """Send a caller's cancel, pause or resume upstream. Returns the columns that record it.

    A request that cannot be sent stays pending until the next poll: it must not keep the job from ending.
    """
    try:
        values = await _cancel_pause_or_resume(ctx, claimed)
    except (UpstreamError, TimeoutError) as error:
        log.warning("poll.request_not_sent", job=claimed.row.id, error=str(error))
        return {}
    if claimed.row.cancel_requested_at is not None or values:
        fault_points.point("poll.request_sent")
    return values


async def _cancel_pause_or_resume(ctx: AccountContext, claimed: Claim[Job]) -> dict[str, object]:
    job = claimed.row
    upstream_id = job.upstream_job_id or ""
    seconds = ctx.settings.control_timeout_seconds
    if job.cancel_requested_at is not None:
        async with claimed.call(seconds):
            await ctx.upstream.cancel_job(upstream_id)
        return {}
    if job.pause_requested and not job.pause_sent:
        async with claimed.call(seconds):
            answer = await ctx.upstream.pause_job(upstream_id)
        return {"pause_sent": answer.status == "paused"}
    if job.pause_sent and not job.pause_requested:
        async with claimed.call(seconds):
            answer = await ctx.upstream.resume_job(upstream_id)
        return {"pause_sent": answer.status == "paused"}
    return {}


async def _record_start(
    session: AsyncSession, job: Job, upstream_job: UpstreamJob, events: Sequence[UpstreamEvent]
) -> None:
    """Record when training started, and emit the webhook for it, once."""
    if job.started_at is not None or upstream_job.status not in ("running", "succeeded"):
        return
    row = await session.get_one(Job, job.id, populate_existing=True)
    now = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    row.started_at = training_start(job, events, now=now) or now
    await session.flush()
    await emit_webhook(session, row, "fine_tuning.job.running")


async def _after_failure(ctx: AccountContext, claimed: Claim[Job], error: UpstreamError | TimeoutError) -> None:
    kind = error.kind if isinstance(error, UpstreamError) else "away"
    seconds = ctx.settings.poll_seconds
    failures = claimed.row.failures
    if kind in ("auth", "quota", "rate_limit"):
        retry_after = error.retry_after_seconds if isinstance(error, UpstreamError) else None
        pause = await cool_down.after_refusal(ctx, Refused(kind, kind, str(error), retry_after_seconds=retry_after))
        seconds = max(seconds, pause.seconds)
    elif kind == "not_found":
        seconds = backoff_seconds(failures, base_seconds=seconds)
        failures += 1
    log.warning("poll.failed", job=claimed.row.id, kind=kind, error=str(error), failures=failures)
    async with ctx.db.worker() as session:
        if failures >= LOST_AFTER:
            await apply_transition(session, claimed, Transition.to_settling_as_lost())
            return
        if kind == "not_found":
            event = NewEvent(message="The upstream does not know the job; polling again", level="warn")
            await add_events(session, claimed.row.id, claimed.row.project_id, [event])
        await leases.give_back(session, claimed, {"failures": failures}, due_in_seconds=seconds)
