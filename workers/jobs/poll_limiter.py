"""An account's requests of polling, bounded over all workers.

The books are one moment in a row, as in the generic cell rate algorithm: each request moves `spent_until` on by its
share of a minute, and none is made that would move it further than the burst beyond now. They are in Postgres, not in
a limiter over Redis, since the bound holds for all workers together and Redis may be away.
"""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.database.tables import AccountPoll, UpstreamAccount
from service.upstreams.poll_schedule import BURST_SECONDS, Load, default_per_minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whether requests may be made now, else in how many seconds; and what the account's jobs are."""

    allowed: bool
    wait_seconds: float
    load: Load


async def take(db: Database, account_id: str, *, requests: int, base_seconds: float, borrow: bool = False) -> Standing:
    """Book requests. `borrow`: whatever the books say, for what may not wait; others wait longer then.

    An account that nobody watches over is watched from now on.
    """
    async with db.worker() as session:
        per_minute = await budget_of(session, account_id, base_seconds)
        now, each = func.clock_timestamp(), dt.timedelta(seconds=60 / per_minute)
        spent = func.greatest(AccountPoll.spent_until, now) + each * requests
        room = max(dt.timedelta(seconds=BURST_SECONDS), each * requests)
        booking = (
            update(AccountPoll)
            .where(AccountPoll.id == account_id)
            .values(spent_until=spent, due_at=func.coalesce(AccountPoll.due_at, now))
            .returning(AccountPoll)
            .execution_options(synchronize_session=False)
        )
        fits = booking if borrow else booking.where(spent <= now + room)
        row = await session.scalar(fits)
        if row is None:
            await session.execute(insert(AccountPoll).values(id=account_id, due_at=now).on_conflict_do_nothing())
            row = await session.scalar(fits)
        if row is not None:
            return Standing(allowed=True, wait_seconds=0.0, load=load_of(row, per_minute))
        row = await session.get_one(AccountPoll, account_id)
        at: dt.datetime = (await session.execute(select(now))).scalar_one()
    wait = (row.spent_until + each * requests - room - at).total_seconds()
    return Standing(allowed=False, wait_seconds=max(wait, each.total_seconds()), load=load_of(row, per_minute))


async def look_up(db: Database, account_id: str, *, base_seconds: float) -> Load:
    """An account's running jobs as they were counted last, without booking anything."""
    async with db.worker() as session:
        per_minute = await budget_of(session, account_id, base_seconds)
        row = await session.get(AccountPoll, account_id)
    return (
        Load(listing=False, active=0, recently_viewed=0, per_minute=per_minute)
        if row is None
        else load_of(row, per_minute)
    )


async def budget_of(session: AsyncSession, account_id: str, base_seconds: float) -> float:
    """The requests a minute that polling an account may take."""
    given = await session.scalar(select(UpstreamAccount.polls_per_minute).where(UpstreamAccount.id == account_id))
    return float(given or default_per_minute(base_seconds))


def load_of(row: AccountPoll, per_minute: float) -> Load:
    """An account's running jobs as they were counted last."""
    return Load(listing=row.listing, active=row.active, recently_viewed=row.recently_viewed, per_minute=per_minute)
