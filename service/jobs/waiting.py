"""Reads the queue from the rows, for the rule in `queue.py`. Reads across projects, so it needs the workers' scope."""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Float,
    Text,
    cast,
    column,
    extract,
    func,
    literal_column,
    or_,
    select,
    values,
)
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import Catalogue
from service.database.advisory_locks import ACCOUNT_SLOTS
from service.database.tables import Job, Project, UpstreamAccount
from service.jobs.queue import Active, Snapshot, Waiting
from service.states import ACTIVE
from service.upstreams.capabilities import Needs
from service.upstreams.queries import Offer, live_accounts, offer

RECENT_JOBS = 1000
"""How many of the last successful jobs the mean durations are taken over."""

LOCK_ACCOUNTS = ACCOUNT_SLOTS.take_each(
    select(UpstreamAccount.id).where(UpstreamAccount.deleted_at.is_(None)).order_by(UpstreamAccount.id)
)

IS_WAITING: ColumnElement[bool] = literal_column("jobs.state = 'waiting'")
"""A literal and no parameter, so that the planner uses the partial index."""


class Group(NamedTuple):
    """What determines a job's candidate accounts; all jobs of a group have the same ones."""

    project_id: str
    model: str
    method_type: str
    account_id: str | None
    suffix_length: int
    integrations: bool
    adapter: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReading:
    """The queue at one moment. `offers` has each group's accounts, or why it has none; `groups` is by job id."""

    snapshot: Snapshot
    groups: dict[str, Group]
    offers: dict[Group, Offer]
    next_cool_down_ends_in_seconds: float | None


async def lock_accounts(session: AsyncSession) -> None:
    """Lock the counting of the accounts' slots until this transaction ends."""
    await session.execute(LOCK_ACCOUNTS)


async def read_queue(
    session: AsyncSession,
    *,
    catalogue: Catalogue,
    today: dt.date,
    heads: int | None,
    ends_in_seconds: Callable[[str, str], float] = lambda model, account_id: 0.0,
) -> QueueReading:
    """Read the queue. `heads` is how many jobs a pass admits: of each group only so many are read (None: all).

    The oldest jobs of each project are read as well, since the rule depends on how long a project has waited.
    `ends_in_seconds(model, account)` returns a job's expected duration in seconds from its admission.
    """
    moment: dt.datetime = (await session.execute(select(func.now()))).scalar_one()
    now = moment.timestamp()
    accounts = await live_accounts(session)
    active = [
        Active(
            project_id=row.project_id,
            account_id=row.account_id or "",
            ends_at=(row.admitted or now) + ends_in_seconds(row.model, row.account_id or ""),
        )
        for row in await session.execute(
            select(Job.project_id, Job.account_id, Job.model, _seconds(Job.admitted_at).label("admitted")).where(
                Job.state.in_(ACTIVE)
            )
        )
    ]
    slots = {account.id: account.max_active_jobs for account in accounts if not _takes_no_jobs(account, moment)}
    cool_downs = [
        account.cool_down_until.timestamp() - now
        for account in accounts
        if account.cool_down_until is not None and account.cool_down_until > moment
    ]
    busy = Counter(each.account_id for each in active)
    any_free = any(busy[account_id] < max_active for account_id, max_active in slots.items())
    project_limits = await _project_limits(session) if heads is None or any_free else {}
    own = Counter(each.project_id for each in active)
    full = [project_id for project_id, max_active in project_limits.items() if own[project_id] >= max_active]
    rows = await _waiting(session, heads, [] if heads is None else full) if heads is None or any_free else []
    groups = {row.id: _group(row) for row in rows}
    offers = {group: await _offer(session, group, catalogue, today) for group in dict.fromkeys(groups.values())}
    waiting = tuple(
        Waiting(
            job_id=row.id,
            project_id=row.project_id,
            model=row.model,
            accounts=tuple(account.id for account in offers[groups[row.id]].accounts),
            priority=row.priority,
            created_at=row.created,
        )
        for row in rows
    )
    snapshot = Snapshot(
        now=now,
        slots=slots,
        project_limits=project_limits,
        active=tuple(active),
        waiting=waiting,
        last_admissions=await _last_admissions(
            session, {(account_id, job.project_id) for job in waiting for account_id in job.accounts}
        ),
    )
    return QueueReading(
        snapshot=snapshot,
        groups=groups,
        offers=offers,
        next_cool_down_ends_in_seconds=min(cool_downs) if cool_downs else None,
    )


async def mean_seconds(session: AsyncSession) -> dict[tuple[str, str], tuple[int, float]]:
    """By (model, account): the number of its recent successful jobs, and their mean seconds from admission to end."""
    recent = (
        select(Job.model, Job.account_id, (_seconds(Job.finished_at) - _seconds(Job.admitted_at)).label("seconds"))
        .where(literal_column("jobs.state = 'succeeded'"), Job.admitted_at.is_not(None))
        .order_by(Job.finished_at.desc())
        .limit(RECENT_JOBS)
        .subquery()
    )
    rows = await session.execute(
        select(recent.c.model, recent.c.account_id, func.count(), func.avg(recent.c.seconds)).group_by(
            recent.c.model, recent.c.account_id
        )
    )
    return {(model, account_id): (count, float(seconds)) for model, account_id, count, seconds in rows}


async def _project_limits(session: AsyncSession) -> dict[str, int]:
    waiting = select(Job.project_id).where(IS_WAITING).distinct()
    rows = await session.execute(
        select(Project.id, Project.max_active_jobs).where(Project.id.in_(waiting), Project.max_active_jobs.is_not(None))
    )
    return {project_id: int(max_active or 0) for project_id, max_active in rows}


async def _waiting(session: AsyncSession, heads: int | None, full: Sequence[str]) -> Sequence[Any]:
    suffix_length = func.coalesce(func.length(Job.suffix), 0).label("suffix_length")
    method_type = Job.method["type"].astext.label("method_type")
    group = (
        Job.project_id,
        Job.model,
        method_type,
        Job.requested_account_id,
        suffix_length,
        Job.integrations.is_(None),
        Job.adapter.is_(None),
    )
    order = (Job.priority.desc(), Job.created_at, Job.id)
    free = [] if heads is None else [or_(Job.leased_until.is_(None), Job.leased_until < func.now())]
    rows = (
        select(
            Job.id,
            Job.project_id,
            Job.model,
            Job.priority,
            Job.requested_account_id,
            suffix_length,
            method_type,
            Job.integrations.is_not(None).label("integrations"),
            Job.adapter.is_not(None).label("adapter"),
            _seconds(Job.created_at).label("created"),
            func.row_number().over(partition_by=group, order_by=order).label("place"),
            func.row_number().over(partition_by=Job.project_id, order_by=Job.created_at).label("age"),
        )
        .where(IS_WAITING, Job.pause_requested.is_(False), Job.cancel_requested_at.is_(None), *free)
        .subquery()
    )
    query = select(rows)
    if full:
        query = query.where(rows.c.project_id.not_in(full))
    if heads is not None:
        query = query.where((rows.c.place <= heads) | (rows.c.age <= heads + 1))
    return (await session.execute(query)).all()


async def _offer(session: AsyncSession, group: Group, catalogue: Catalogue, today: dt.date) -> Offer:
    return await offer(
        session,
        project_id=group.project_id,
        model=group.model,
        method_type=group.method_type,
        catalogue=catalogue,
        today=today,
        needs=Needs(
            account_id=group.account_id,
            suffix="x" * group.suffix_length or None,
            integrations=group.integrations,
            adapter=group.adapter,
        ),
    )


async def _last_admissions(session: AsyncSession, pairs: set[tuple[str, str]]) -> dict[tuple[str, str], float]:
    if not pairs:
        return {}
    pairs_table = values(column("account_id", Text), column("project_id", Text), name="pairs").data(sorted(pairs))
    last = (
        select(func.max(Job.admitted_at))
        .where(Job.account_id == pairs_table.c.account_id, Job.project_id == pairs_table.c.project_id)
        .scalar_subquery()
    )
    rows = await session.execute(select(pairs_table.c.account_id, pairs_table.c.project_id, _seconds(last)))
    return {(account_id, project_id): float(at) for account_id, project_id, at in rows if at is not None}


def _group(row: Any) -> Group:
    return Group(
        row.project_id,
        row.model,
        row.method_type,
        row.requested_account_id,
        row.suffix_length,
        row.integrations,
        row.adapter,
    )


def _takes_no_jobs(account: UpstreamAccount, moment: dt.datetime) -> bool:
    return account.drained_at is not None or (account.cool_down_until is not None and account.cool_down_until > moment)


def _seconds(moment: Any) -> Any:
    return cast(extract("epoch", moment), Float(53))
