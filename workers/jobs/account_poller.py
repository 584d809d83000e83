"""Watching over an account's running jobs: a list tells of a hundred with one request, and those with news are rung.

Few jobs look by themselves, with their events; a list goes with it as soon as one of them does so less often than the
settings say, and keeps it as fresh. A list that is not to be had, or fails for a while, means single looks for many
jobs too, within the budget. What a list rings is a wish to look, never a result: the job's own step asks the upstream
under the job's lease, so a lister that is killed or taken over has changed nothing.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import structlog
from prometheus_client import Counter
from sqlalchemy import case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.database import leases
from service.database.leases import Claim
from service.database.tables import AccountPoll, Job
from service.jobs.last_viewed import RECENTLY_VIEWED
from service.jobs.lifecycle import upstream_end
from service.upstreams import poll_schedule
from service.upstreams.accounts import AccountUnusable
from service.upstreams.labels import GATEWAY
from service.upstreams.poll_schedule import Load, UpdateKind
from service.upstreams.port import Refused, UpstreamError, UpstreamJob
from workers.context import AccountContext, Context
from workers.jobs import cool_down, poll_limiter

log = structlog.get_logger()

LISTS = Counter("tunegate_upstream_lists_total", "Pages of upstream jobs that were asked for.", ["account"])
NEWS = Counter("tunegate_upstream_news_total", "Jobs that a list had news of.", ["news"])

RECHECK_SECONDS = 1.0
UNUSABLE_SECONDS = 15.0
UNLISTABLE_SECONDS = 600.0
AWAY_SECONDS = 60.0
LISTED_NO_MORE = 3
"""So many lists in a row that fail, and jobs look by themselves until one succeeds."""

MAX_PAGES = 1000
SKEW = dt.timedelta(hours=1)
"""How far the upstream's clock may be from ours: jobs that are so much older than ours are nobody's of interest."""


class Running(NamedTuple):
    """What the rows know of a running job."""

    id: str
    upstream_id: str
    told: str | None
    since: dt.datetime
    age_seconds: float
    left_seconds: float | None
    looked_seconds_ago: float | None
    due: bool
    failures: int
    watched: bool


async def poll_account(ctx: Context, claimed: Claim[AccountPoll]) -> None:
    """One step for one account."""
    base = ctx.settings.poll_seconds
    async with leases.heartbeat(ctx.db, claimed):
        async with ctx.db.worker() as session:
            jobs = await _running(session, claimed.row.id)
            per_minute = await poll_limiter.budget_of(session, claimed.row.id, base)
        load = Load(
            listing=len(jobs) > poll_schedule.MAX_POLLED_SINGLY,
            active=len(jobs),
            recently_viewed=sum(job.watched for job in jobs),
            per_minute=per_minute,
        )
        if not jobs and not _relied_on(claimed.row):
            async with ctx.db.worker() as session:
                await leases.rest(
                    session, claimed, {"active": 0, "recently_viewed": 0, "listing": False, "failures": 0}
                )
        elif load.listing or any(_rests(job, base) for job in jobs):
            await _by_list(ctx, claimed, jobs, load)
        else:
            await _give_back(ctx, claimed, load, due_in_seconds=max(base, RECHECK_SECONDS))


def _rests(job: Running, base: float) -> bool:
    """Whether a job that looks by itself does so less often than the settings say, so that a list does it no harm."""
    return poll_schedule.poll_seconds(base, age_seconds=job.age_seconds, left_seconds=job.left_seconds) > base


async def _by_list(ctx: Context, claimed: Claim[AccountPoll], jobs: list[Running], load: Load) -> None:
    def pause(pages: int) -> float:
        return poll_schedule.list_seconds(ctx.settings.poll_seconds, pages=pages, per_minute=load.per_minute)

    most = poll_schedule.polls_until_next_list(pause(-(-len(jobs) // poll_schedule.PAGE)), per_minute=load.per_minute)
    try:
        at = ctx.at(await ctx.accounts.get(claimed.row.id))
        pages = await _list(at, claimed, jobs, most=most)
    except AccountUnusable:
        await _give_back(ctx, claimed, load, due_in_seconds=UNUSABLE_SECONDS)
    except (UpstreamError, TimeoutError) as error:
        await _not_listed(ctx, claimed, load, error)
    else:
        await _give_back(ctx, claimed, load, due_in_seconds=pause(pages))


async def _give_back(
    ctx: Context, claimed: Claim[AccountPoll], load: Load, *, due_in_seconds: float, failures: int = 0
) -> None:
    """End the step. Jobs that relied on a list and do no more are to look soon, one after the other.

    They are told so twice: with the end of the list and at the step after that, since a job may have read, until the
    end was committed, that there is a list.
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
        if _relied_on(claimed.row) and not load.listing:
            spread = poll_schedule.spread_seconds(
                ctx.settings.poll_seconds, active=load.active, per_minute=load.per_minute
            )
            soon = func.clock_timestamp() + func.random() * dt.timedelta(seconds=spread)
            under_way = Job.leased_until.is_not(None)
            await session.execute(
                update(Job)
                .where(Job.account_id == claimed.row.id, Job.state == "running")
                .values(due_at=case((under_way, soon), else_=func.least(Job.due_at, soon)))  # moved: it stays a wish
                .execution_options(synchronize_session=False)
            )


def _relied_on(row: AccountPoll) -> bool:
    """Whether jobs may rest because a list tells of them."""
    return row.listing or row.listed_at is not None


async def _list(ctx: AccountContext, claimed: Claim[AccountPoll], jobs: list[Running], *, most: int) -> int:
    """All pages that can tell of the jobs; what is new is rung page by page, the ends first. Returns how many pages."""
    unheard = {job.upstream_id: job for job in jobs}
    oldest = (min(job.since for job in jobs) - SKEW).timestamp()
    left = most - sum(job.due for job in jobs)
    later: list[Running] = []
    after: str | None = None
    for page_number in range(1, MAX_PAGES + 1):
        await poll_limiter.take(ctx.db, claimed.row.id, requests=1, base_seconds=ctx.settings.poll_seconds, borrow=True)
        LISTS.labels(claimed.row.id).inc()
        async with claimed.call(ctx.settings.control_timeout_seconds):
            page = await ctx.upstream.list_jobs({GATEWAY: ctx.instance}, after=after)
        fault_points.point("watch.listed")
        fresh, progress = news_of_page(page.jobs, unheard, now=dt.datetime.now(dt.UTC).timestamp())
        later += progress
        left -= await _ring(ctx, claimed, fresh[: max(left, 0)])
        for told in page.jobs:
            unheard.pop(told.id, None)
        after = page.after
        if not unheard or after is None or all(0 < told.created_at < oldest for told in page.jobs):
            lost = [job for job in unheard.values() if not job.due and job.failures == 0]
            await _ring(ctx, claimed, [*lost, *later][: max(left, 0)])
            return page_number
    raise UpstreamError("away", "The list of jobs does not end.")


def news_of_page(
    told: Sequence[UpstreamJob], unheard: Mapping[str, Running], *, now: float
) -> tuple[list[Running], list[Running]]:
    """Jobs of a page that are to be looked at: those that ended (first) or changed, and those that only got on.

    `now` in Unix seconds. Jobs that are to be looked at anyway are left out.
    """
    found: dict[UpdateKind, list[Running]] = {"none": [], "progress": [], "change": [], "end": []}
    for each in told:
        job = unheard.get(each.id)
        if job is not None and not job.due:
            found[
                poll_schedule.classify_update(job.told, each, ended=upstream_end(each.status) is not None, now=now)
            ].append(job)
    for news in ("progress", "change", "end"):
        NEWS.labels(news).inc(len(found[news]))
    rested = [
        job
        for job in found["progress"]
        if job.looked_seconds_ago is None or job.looked_seconds_ago > poll_schedule.PROGRESS_SECONDS
    ]
    return [*found["end"], *found["change"]], rested


async def _ring(ctx: AccountContext, claimed: Claim[AccountPoll], jobs: Sequence[Running]) -> int:
    """Make jobs due, while the watch is still ours."""
    async with ctx.db.worker() as session:
        await leases.write(session, claimed, {"failures": claimed.row.failures})
        if jobs:
            await session.execute(
                update(Job)
                .where(Job.id.in_([job.id for job in jobs]), Job.state == "running")
                .values(due_at=func.clock_timestamp())
                .execution_options(synchronize_session=False)
            )
    fault_points.point("watch.rung")
    return len(jobs)


async def _not_listed(
    ctx: Context, claimed: Claim[AccountPoll], load: Load, error: UpstreamError | TimeoutError
) -> None:
    """A list that is refused holds the account; one that there is not, or that fails for a while, is done without."""
    kind = error.kind if isinstance(error, UpstreamError) else "away"
    failures, base = claimed.row.failures + 1, ctx.settings.poll_seconds
    log.warning("watch.not_listed", account=claimed.row.id, kind=kind, error=str(error), failures=failures)
    as_it_was = replace(load, listing=claimed.row.listing)
    alone = replace(load, listing=False)
    if kind in ("auth", "quota", "rate_limit"):
        retry_after = error.retry_after_seconds if isinstance(error, UpstreamError) else None
        at = ctx.at(await ctx.accounts.get(claimed.row.id))
        hold = await cool_down.after_refusal(at, Refused(kind, kind, str(error), retry_after_seconds=retry_after))
        await _give_back(ctx, claimed, as_it_was, due_in_seconds=hold.seconds)
    elif kind in ("not_found", "invalid"):
        await _give_back(ctx, claimed, alone, due_in_seconds=UNLISTABLE_SECONDS)
    else:
        seconds = min(base * 2.0 ** min(failures, 10), max(base, AWAY_SECONDS))
        after = as_it_was if failures < LISTED_NO_MORE else alone
        await _give_back(ctx, claimed, after, due_in_seconds=seconds, failures=failures)


async def _running(session: AsyncSession, account_id: str) -> list[Running]:
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
            or_(Job.due_at <= now, Job.leased_until > now),
            Job.failures,
            func.coalesce(Job.last_viewed_at > now - RECENTLY_VIEWED, False),
        ).where(Job.account_id == account_id, Job.state == "running")
    )
    return [
        Running(
            id=row[0],
            upstream_id=row[1] or "",
            told=row[2],
            since=row[3],
            age_seconds=float(row[4]),
            left_seconds=None if row[5] is None else float(row[5]),
            looked_seconds_ago=None if row[6] is None else float(row[6]),
            due=bool(row[7]),
            failures=row[8],
            watched=bool(row[9]),
        )
        for row in rows
    ]


def _seconds(length: Any) -> Any:
    return func.extract("epoch", length)
