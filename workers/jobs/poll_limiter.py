"""Limits the poll requests of an account over all workers together.

It is the generic cell rate algorithm, whose state is one moment in a row: each request advances `spent_until` by its
share of a minute, and a request that would advance it beyond now plus the burst is refused. The state is in Postgres
and not in a limiter over Redis, since it must hold for all workers while Redis is unavailable.
"""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.database.tables import AccountPoll, UpstreamAccount
from service.upstreams.poll_schedule import Load, burst_seconds, cost_seconds, default_per_minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Whether requests may be made now, otherwise in how many seconds; and the account's load."""

    allowed: bool
    wait_seconds: float
    load: Load


async def take(
    db: Database, account_id: str, *, requests: int, base_seconds: float, may_exceed: bool = False
) -> Permit:
    """Count requests against the limit. `may_exceed`: requests that cannot wait are permitted over it and delay others.

    Starts polling an account whose jobs were not polled yet.
    """
    async with db.worker() as session:
        per_minute = await per_minute_of(session, account_id, base_seconds)
        now = func.clock_timestamp()
        cost = dt.timedelta(seconds=cost_seconds(requests, per_minute=per_minute))
        burst = dt.timedelta(seconds=burst_seconds(requests, per_minute=per_minute))
        spent = func.greatest(AccountPoll.spent_until, now) + cost
        counted = (
            update(AccountPoll)
            .where(AccountPoll.id == account_id)
            .values(spent_until=spent, due_at=func.coalesce(AccountPoll.due_at, now))
            .returning(AccountPoll)
            .execution_options(synchronize_session=False)
        )
        allowed = counted if may_exceed else counted.where(spent <= now + burst)
        row = await session.scalar(allowed)
        if row is None:
            await session.execute(insert(AccountPoll).values(id=account_id, due_at=now).on_conflict_do_nothing())
            row = await session.scalar(allowed)
        if row is not None:
            return Permit(allowed=True, wait_seconds=0.0, load=load_of(row, per_minute))
        row = await session.get_one(AccountPoll, account_id)
        at: dt.datetime = (await session.execute(select(now))).scalar_one()
    wait = (row.spent_until + cost - burst - at).total_seconds()
    least = cost_seconds(1, per_minute=per_minute)
    return Permit(allowed=False, wait_seconds=max(wait, least), load=load_of(row, per_minute))


async def load_of_account(db: Database, account_id: str, *, base_seconds: float) -> Load:
    """An account's load at the last step of its poll. Counts no request."""
    async with db.worker() as session:
        per_minute = await per_minute_of(session, account_id, base_seconds)
        row = await session.get(AccountPoll, account_id)
    return (
        Load(listing=False, active=0, recently_viewed=0, per_minute=per_minute)
        if row is None
        else load_of(row, per_minute)
    )


async def per_minute_of(session: AsyncSession, account_id: str, base_seconds: float) -> float:
    """The account's poll limit in requests a minute."""
    configured = await session.scalar(select(UpstreamAccount.polls_per_minute).where(UpstreamAccount.id == account_id))
    return float(configured or default_per_minute(base_seconds))


def load_of(row: AccountPoll, per_minute: float) -> Load:
    """The load as the last step of the account's poll recorded it."""
    return Load(listing=row.listing, active=row.active, recently_viewed=row.recently_viewed, per_minute=per_minute)
