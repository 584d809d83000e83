"""Polls an account: lists its running jobs, a hundred with one request, and writes what the list shows.

While an account has few jobs, each is polled by itself, with its events; a list is fetched besides as soon as one of
them waits longer between polls than `POLL_SECONDS`. If the upstream has no list, or listing fails for a while, every
job is polled by itself within the poll limit. A page's updates are one transaction under the fence of the account
poll's lease, in which each job is claimed and written under its own fence, so an account poller that is killed or loses
its lease leaves no partial result. A job that another worker has claimed, or that was polled after the list was
requested, is left to its own poll.
"""

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import Float, Select, case, cast, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.backoff import backoff_seconds
from service.database import leases
from service.database.fair_claims import longest_due_of
from service.database.leases import Claim
from service.database.tables import AccountPoll, Job, UpstreamAccount
from service.jobs.last_viewed import RECENTLY_VIEWED
from service.upstreams import poll_schedule
from service.upstreams.accounts import AccountUnusable
from service.upstreams.labels import GATEWAY
from service.upstreams.poll_schedule import Load
from service.upstreams.port import Refused, UpstreamError, UpstreamJob
from workers.context import AccountContext, Context
from workers.jobs import cool_down, poll_limiter
from workers.jobs.list_sweep import RunningJob, Sweep, load_of_jobs, needs_list
from workers.jobs.poll import record_listed

log = structlog.get_logger()

LISTS = Counter("tunegate_upstream_lists_total", "Pages of upstream jobs that were requested.", ["account"])

RECHECK_SECONDS = 1.0
UNUSABLE_SECONDS = 15.0
NOT_LISTABLE_SECONDS = 600.0
MAX_BACKOFF_SECONDS = 60.0
MAX_FAILED_LISTS = 3
"""After this many failed lists in a row every job is polled by itself, until a list succeeds."""

MAX_PAGES = 1000


def due_polls(_: Context) -> Select[Any]:
    """The accounts to poll, by project. A shared account belongs to no project and counts by itself."""
    return _due_polls()


@cache
def _due_polls() -> Select[Any]:
    owner = func.coalesce(UpstreamAccount.project_id, AccountPoll.id)
    due = (
        select(owner.label("project_id"), AccountPoll.id, AccountPoll.due_at)
        .join(UpstreamAccount, UpstreamAccount.id == AccountPoll.id)
        .where(leases.due(AccountPoll))
        .cte("due_polls")
    )
    return longest_due_of(due)


async def poll_account(ctx: Context, claimed: Claim[AccountPoll]) -> None:
    """Poll one account once."""
    base = ctx.settings.poll_seconds
    async with leases.heartbeat(ctx.db, claimed):
        async with ctx.db.worker() as session:
            jobs = await _running(session, claimed.row.id)
            per_minute = await poll_limiter.per_minute_of(session, claimed.row.id, base)
        load = load_of_jobs(jobs, per_minute=per_minute)
        if not jobs and not _was_covered(claimed.row):
            async with ctx.db.worker() as session:
                await leases.give_back_idle(
                    session, claimed, {"active": 0, "recently_viewed": 0, "listing": False, "failures": 0}
                )
        elif needs_list(jobs, load, base):
            await _poll_by_list(ctx, claimed, jobs, load)
        else:
            await _give_back(ctx, claimed, load, due_in_seconds=max(base, RECHECK_SECONDS))


async def _poll_by_list(ctx: Context, claimed: Claim[AccountPoll], jobs: list[RunningJob], load: Load) -> None:
    began = time.monotonic()

    def seconds_until_next(pages: int) -> float:
        return poll_schedule.list_seconds(ctx.settings.poll_seconds, pages=pages, per_minute=load.per_minute)

    sweep = Sweep(jobs, load, seconds=seconds_until_next(-(-len(jobs) // poll_schedule.PAGE)))
    try:
        at = ctx.at(await ctx.accounts.get(claimed.row.id))
        pages = await _list(at, claimed, sweep)
    except AccountUnusable:
        await _give_back(ctx, claimed, load, due_in_seconds=UNUSABLE_SECONDS)
    except (UpstreamError, TimeoutError) as error:
        await _after_failure(ctx, claimed, load, error)
    else:
        elapsed = time.monotonic() - began
        await _give_back(ctx, claimed, load, due_in_seconds=max(seconds_until_next(pages) - elapsed, 0.0))


async def _give_back(
    ctx: Context, claimed: Claim[AccountPoll], load: Load, *, due_in_seconds: float, failures: int = 0
) -> None:
    """End the step. When lists stop covering the account's jobs, make the jobs due one after the other.

    This is done twice, with the step that stops listing and with the next one: until the first of them was committed, a
    job may have read that lists cover it.
    """
    values: dict[str, Any] = {
        "active": load.active,
        "recently_viewed": load.recently_viewed,
        "listing": load.listing,
        "failures": failures,
    }
    if load.listing:
        values["listed_at"] = func.now()
    elif not claimed.row.listing:
        values["listed_at"] = None
    async with ctx.db.worker() as session:
        await leases.give_back(session, claimed, values, due_in_seconds=due_in_seconds)
        if _was_covered(claimed.row) and not load.listing:
            spread = poll_schedule.spread_seconds(
                ctx.settings.poll_seconds, active=load.active, per_minute=load.per_minute
            )
            soon = func.clock_timestamp() + func.random() * dt.timedelta(seconds=spread)
            claimed_now = Job.leased_until.is_not(None)  # a changed `due_at` survives the end of their step
            await session.execute(
                update(Job)
                .where(Job.account_id == claimed.row.id, Job.state == "running")
                .values(due_at=case((claimed_now, soon), else_=func.least(Job.due_at, soon)))
                .execution_options(synchronize_session=False)
            )


def _was_covered(row: AccountPoll) -> bool:
    """Whether jobs may have waited for lists to make them due."""
    return row.listing or row.listed_at is not None


async def _list(ctx: AccountContext, claimed: Claim[AccountPoll], sweep: Sweep) -> int:
    """Fetch every page that can contain running jobs, and write its updates. Returns the number of pages."""
    after: str | None = None
    for page_number in range(1, MAX_PAGES + 1):
        await poll_limiter.take(
            ctx.db, claimed.row.id, requests=1, base_seconds=ctx.settings.poll_seconds, may_exceed=True
        )
        LISTS.labels(claimed.row.id).inc()
        requested = time.monotonic()
        async with claimed.call(ctx.settings.control_timeout_seconds):
            page = await ctx.upstream.list_jobs({GATEWAY: ctx.instance}, after=after)
        fault_points.point("account_poll.listed")
        found = sweep.read(page.jobs, now=dt.datetime.now(dt.UTC).timestamp())
        after = page.after
        is_complete = sweep.is_complete(page.jobs, after)
        to_poll = [*found.to_poll, *sweep.left_to_poll()] if is_complete else found.to_poll
        await _record(ctx, claimed, found.updates, to_poll, requested=requested)
        if is_complete:
            return page_number
    raise UpstreamError("away", "The list of jobs does not end.")


async def _record(
    ctx: AccountContext,
    claimed: Claim[AccountPoll],
    updates: Mapping[str, UpstreamJob],
    to_poll: Sequence[RunningJob],
    *,
    requested: float,
) -> None:
    """Write a page's updates and make jobs due for a poll, under the fence of the account poll's lease.

    `requested`: when the page was requested, in monotonic seconds. A job that was polled since then is newer than it.
    """
    async with ctx.db.worker() as session:
        await leases.write(session, claimed, {"failures": claimed.row.failures})
        since_requested = dt.timedelta(seconds=time.monotonic() - requested)
        older = or_(Job.polled_at.is_(None), Job.polled_at < func.now() - since_requested)
        claims = await leases.claim(
            session,
            Job,
            lease_seconds=ctx.settings.lease_seconds,
            limit=len(updates),
            where=[Job.id.in_(updates), Job.account_id == claimed.row.id, Job.state == "running", older],
            only_due=False,
        )
        for job_id, each in [(each.row.id, each) for each in claims]:
            await _record_job(session, job_id, each, updates[job_id])
        await session.execute(
            update(Job)
            .where(Job.id.in_([job.id for job in to_poll]), Job.state == "running")
            .values(due_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )
    fault_points.point("account_poll.recorded")


async def _record_job(session: AsyncSession, job_id: str, claimed: Claim[Job], listed: UpstreamJob) -> None:
    """Write one job's update, under a savepoint: a job that cannot be written must not delay the others."""
    try:
        async with session.begin_nested():
            await record_listed(session, claimed, listed)
    except Exception as error:
        log.error("account_poll.job_not_written", job=job_id, exc_info=error)


async def _after_failure(
    ctx: Context, claimed: Claim[AccountPoll], load: Load, error: UpstreamError | TimeoutError
) -> None:
    """Cool the account down after a refusal; poll every job by itself if there is no list, or listing keeps failing."""
    kind = error.kind if isinstance(error, UpstreamError) else "away"
    failures, base = claimed.row.failures + 1, ctx.settings.poll_seconds
    log.warning("account_poll.failed", account=claimed.row.id, kind=kind, error=str(error), failures=failures)
    unchanged = replace(load, listing=claimed.row.listing)
    without_lists = replace(load, listing=False)
    if kind in ("auth", "quota", "rate_limit"):
        retry_after = error.retry_after_seconds if isinstance(error, UpstreamError) else None
        at = ctx.at(await ctx.accounts.get(claimed.row.id))
        pause = await cool_down.after_refusal(at, Refused(kind, kind, str(error), retry_after_seconds=retry_after))
        await _give_back(ctx, claimed, unchanged, due_in_seconds=pause.seconds)
    elif kind in ("not_found", "invalid"):
        await _give_back(ctx, claimed, without_lists, due_in_seconds=NOT_LISTABLE_SECONDS)
    else:
        seconds = backoff_seconds(failures, base_seconds=base, max_seconds=max(base, MAX_BACKOFF_SECONDS))
        next_load = unchanged if failures < MAX_FAILED_LISTS else without_lists
        await _give_back(ctx, claimed, next_load, due_in_seconds=seconds, failures=failures)


async def _running(session: AsyncSession, account_id: str) -> list[RunningJob]:
    now = func.now()
    since = func.coalesce(Job.admitted_at, Job.created_at)
    rows = await session.execute(
        select(
            Job.id,
            Job.upstream_job_id,
            Job.upstream_snapshot,
            since,
            _seconds(now - func.greatest(since, Job.started_at)),
            _seconds(Job.estimated_finish_at - now),
            _seconds(now - Job.polled_at),
            func.coalesce(Job.last_update_at > Job.polled_at, False),
            or_(Job.due_at <= now, Job.leased_until > now),
            Job.failures,
            func.coalesce(Job.last_viewed_at > now - RECENTLY_VIEWED, False),
            cast(Job.budget_micros, Float(53)) / func.nullif(Job.price_micros_per_gpu_second, 0),
        ).where(Job.account_id == account_id, Job.state == "running")
    )
    return [
        RunningJob(
            id=row[0],
            upstream_id=row[1] or "",
            snapshot=row[2],
            since=row[3],
            age_seconds=float(row[4]),
            left_seconds=None if row[5] is None else float(row[5]),
            polled_seconds_ago=None if row[6] is None else float(row[6]),
            details_pending=bool(row[7]),
            due=bool(row[8]),
            failures=row[9],
            recently_viewed=bool(row[10]),
            budget_gpu_seconds=None if row[11] is None else float(row[11]),
        )
        for row in rows
    ]


def _seconds(length: Any) -> Any:
    return func.extract("epoch", length)
