"""Leases: how workers take turns at rows of long work. One module for every kind of it.

A claim is one statement with `FOR UPDATE SKIP LOCKED`: due, and the lease free or over. It raises the row's lease
token; every later write names that token, so a worker that was taken over changes nothing (zero rows is an answer,
not an accident). Only the database's clock decides who holds a lease; the worker's own monotonic clock only makes it
stop early. A row whose `due_at` was moved while it was claimed ("look again") keeps that wish when it is given back.
"""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog
from sqlalchemy import ColumnElement, case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.database.tables.base import Leased
from service.settings import LEASE_MARGIN_SHARE

log = structlog.get_logger()

Row = TypeVar("Row", bound=Leased)


class LeaseLost(Exception):
    """Another worker holds the row now: stop, and drop the result."""


@dataclass(slots=True)
class Claim(Generic[Row]):
    """A claimed row as it was read, with the right to write it until `deadline` (monotonic seconds)."""

    row: Row
    token: int
    due_at: dt.datetime | None
    lease_seconds: float
    deadline: float
    lost: bool = False

    @property
    def table(self) -> type[Row]:
        """The row's table."""
        return type(self.row)

    def held(self) -> ColumnElement[bool]:
        """The fence: the condition that every write of this claim carries."""
        return (self.table.id == self.row.id) & (self.table.lease_token == self.token)

    @asynccontextmanager
    async def call(self, timeout_seconds: float) -> AsyncIterator[None]:
        """Run a call that leaves the process: `TimeoutError` after its time, or before the lease could end.

        Raises `LeaseLost` without making the call when the time is over already, as after a SIGSTOP.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise LeaseLost(f"{self.table.__tablename__} {self.row.id}")
        async with asyncio.timeout(min(timeout_seconds, left)):
            yield


def due(table: type[Leased]) -> ColumnElement[bool]:
    """The condition under which a row's time has come and nobody is at it."""
    return (table.due_at <= func.now()) & _free(table)


def _free(table: type[Leased]) -> ColumnElement[bool]:
    return or_(table.leased_until.is_(None), table.leased_until < func.now())


async def claim(
    session: AsyncSession,
    table: type[Row],
    *,
    lease_seconds: float,
    limit: int = 1,
    where: Sequence[ColumnElement[bool]] = (),
    only_due: bool = True,
) -> list[Claim[Row]]:
    """Claim up to `limit` due rows of `table`, the longest due first; `only_due` False: also those that only rest."""
    started = time.monotonic()
    wanted = (
        select(table.id)
        .where(due(table) if only_due else _free(table), *where)
        .order_by(table.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = await session.scalars(
        update(table)
        .where(table.id.in_(wanted.scalar_subquery()))
        .values(lease_token=table.lease_token + 1, leased_until=func.now() + dt.timedelta(seconds=lease_seconds))
        .returning(table)
    )
    return [
        Claim(
            row=row,
            token=row.lease_token,
            due_at=row.due_at,
            lease_seconds=lease_seconds,
            deadline=_deadline(started, lease_seconds),
        )
        for row in rows
    ]


async def write(
    session: AsyncSession,
    claimed: Claim[Row],
    values: dict[str, Any],
    *,
    where: Sequence[ColumnElement[bool]] = (),
) -> None:
    """A fenced write that keeps the lease. Raises `LeaseLost` when it is no longer ours."""
    table = claimed.table
    written = await session.scalar(update(table).where(claimed.held(), *where).values(**values).returning(table.id))
    if written is None:
        raise LeaseLost(f"{table.__tablename__} {claimed.row.id}")


async def give_back(
    session: AsyncSession,
    claimed: Claim[Row],
    values: dict[str, Any],
    *,
    due_in_seconds: float | None,
    where: Sequence[ColumnElement[bool]] = (),
) -> None:
    """A fenced write that ends the lease and says when the row is due again (None: nothing is left to do).

    Raises `LeaseLost` when the lease is no longer ours.
    """
    table = claimed.table
    due_at: Any = None
    if due_in_seconds is not None:
        next_due = func.now() + dt.timedelta(seconds=due_in_seconds)
        due_at = case((table.due_at == claimed.due_at, next_due), else_=func.least(table.due_at, next_due))
    await write(session, claimed, {**values, "due_at": due_at, "leased_until": None}, where=where)


async def rest(
    session: AsyncSession,
    claimed: Claim[Row],
    values: dict[str, Any],
    *,
    where: Sequence[ColumnElement[bool]] = (),
) -> None:
    """A fenced write that ends the lease of a row that somebody will wake: it has no time of its own any more.

    A wish to look again that came while it was claimed stays. Raises `LeaseLost` when the row is no longer ours.
    """
    table = claimed.table
    due_at = case((table.due_at.is_not_distinct_from(claimed.due_at), None), else_=table.due_at)
    await write(session, claimed, {**values, "due_at": due_at, "leased_until": None}, where=where)


@asynccontextmanager
async def heartbeat(db: Database, claimed: Claim[Row]) -> AsyncIterator[None]:
    """Renew the lease every third of its length while the body runs; cancel the body when the lease is lost.

    Leaves with `LeaseLost` in that case, or when no renewal got through before the lease's end.
    """
    body = asyncio.current_task()
    if body is None:
        raise RuntimeError("A heartbeat needs a running task.")
    renewer = asyncio.create_task(_renew(db, claimed, body))
    try:
        yield
    except asyncio.CancelledError:
        if claimed.lost:
            body.uncancel()
            raise LeaseLost(f"{claimed.table.__tablename__} {claimed.row.id}") from None
        raise
    finally:
        renewer.cancel()
        await asyncio.gather(renewer, return_exceptions=True)


async def _renew(db: Database, claimed: Claim[Row], body: "asyncio.Task[Any]") -> None:
    table = claimed.table
    while True:
        await asyncio.sleep(claimed.lease_seconds / 3)
        started = time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, claimed.deadline - started)), db.worker() as session:
                renewed = await session.scalar(
                    update(table)
                    .where(claimed.held(), table.leased_until > func.now())
                    .values(leased_until=func.now() + dt.timedelta(seconds=claimed.lease_seconds))
                    .returning(table.id)
                )
        except Exception as error:
            if time.monotonic() < claimed.deadline:
                log.warning("lease.renewal_failed", row=claimed.row.id, error=repr(error))
                continue
            renewed = None
        if renewed is None:
            claimed.lost = True
            body.cancel()
            return
        claimed.deadline = _deadline(started, claimed.lease_seconds)


def _deadline(started: float, lease_seconds: float) -> float:
    return started + lease_seconds * (1 - LEASE_MARGIN_SHARE)
