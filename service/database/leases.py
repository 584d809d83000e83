"""Leases: at most one worker at a time processes a row of leased work. Every kind of work uses this module.

A claim is one statement with `FOR UPDATE SKIP LOCKED` on a row that is due and has no valid lease. It increments the
row's lease token; every later write requires that token, so a worker that lost its lease changes nothing: its write
matches zero rows. Only the database's clock decides who holds a lease; the worker's own monotonic clock only makes it
stop early. If another transaction moved `due_at` while the row was claimed, giving the row back keeps that time.
"""

import asyncio
import datetime as dt
import functools
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import structlog
from sqlalchemy import ARRAY, ColumnElement, Integer, Interval, Text, any_, bindparam, case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningUpdate

from service.database.engine import Database
from service.database.tables.base import Leased
from service.settings import LEASE_MARGIN_SHARE

log = structlog.get_logger()

Row = TypeVar("Row", bound=Leased)


class LeaseLost(Exception):
    """Another worker may hold the lease now: stop, and discard the result."""


@dataclass(slots=True)
class Claim(Generic[Row]):
    """A claimed row as it was read, and the lease on it, valid until `deadline` (monotonic seconds)."""

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
        """The fence: a condition of every write under this claim; false once another worker has claimed the row."""
        return (self.table.id == self.row.id) & (self.table.lease_token == self.token)

    @asynccontextmanager
    async def call(self, timeout_seconds: float) -> AsyncIterator[None]:
        """Limit a call that leaves the process: `TimeoutError` after its timeout, or before the lease could expire.

        Raises `LeaseLost` before the call if the lease may have expired already, as after a SIGSTOP.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise LeaseLost(f"{self.table.__tablename__} {self.row.id}")
        async with asyncio.timeout(min(timeout_seconds, left)):
            yield


def due(table: type[Leased]) -> ColumnElement[bool]:
    """The condition that a row is due and no worker holds a lease on it."""
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
    """Claim up to `limit` due rows of `table`, the longest due first. `only_due=False` claims idle rows as well."""
    statement = _claiming(table, due(table) if only_due else _free(table), *where)
    return await _claims(session, statement, {"limit": limit}, lease_seconds)


async def claim_rows(
    session: AsyncSession, table: type[Row], ids: Sequence[str], *, lease_seconds: float
) -> list[Claim[Row]]:
    """Claim those of the rows with these ids that are due and free."""
    statement: ReturningUpdate[Row] = _claiming_rows(cast("Hashable", table))
    return await _claims(session, statement, {"limit": len(ids), "ids": ids}, lease_seconds)


def _claiming(table: type[Row], *where: ColumnElement[bool]) -> ReturningUpdate[Row]:
    claimable = (
        select(table.id)
        .where(*where)
        .order_by(table.due_at)
        .limit(bindparam("limit", type_=Integer))
        .with_for_update(skip_locked=True)
    )
    lease = bindparam("lease", type_=Interval)
    return (
        update(table)
        .where(table.id.in_(claimable.scalar_subquery()))
        .values(lease_token=table.lease_token + 1, leased_until=func.now() + lease)
        .returning(table)
    )


@functools.cache
def _claiming_rows(table: Any) -> ReturningUpdate[Any]:
    return _claiming(table, due(table), table.id == any_(bindparam("ids", type_=ARRAY(Text))))


async def _claims(
    session: AsyncSession, statement: ReturningUpdate[Row], values: dict[str, Any], lease_seconds: float
) -> list[Claim[Row]]:
    started = time.monotonic()
    rows = await session.scalars(statement, {**values, "lease": dt.timedelta(seconds=lease_seconds)})
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
    """Write under the fence and keep the lease. Raises `LeaseLost` if another worker has claimed the row."""
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
    """Write under the fence, end the lease, and set when the row is due again (None: never by itself).

    An earlier due time that was set during the claim is kept. Raises `LeaseLost` if another worker has claimed the row.
    """
    table = claimed.table
    due_at: Any = None
    if due_in_seconds is not None:
        next_due = func.now() + dt.timedelta(seconds=due_in_seconds)
        due_at = case((table.due_at == claimed.due_at, next_due), else_=func.least(table.due_at, next_due))
    await write(session, claimed, {**values, "due_at": due_at, "leased_until": None}, where=where)


async def give_back_idle(
    session: AsyncSession,
    claimed: Claim[Row],
    values: dict[str, Any],
    *,
    where: Sequence[ColumnElement[bool]] = (),
) -> None:
    """Write under the fence, and end the lease of a row that is idle until another transaction makes it due.

    A due time that was set during the claim is kept. Raises `LeaseLost` if another worker has claimed the row.
    """
    table = claimed.table
    due_at = case((table.due_at.is_not_distinct_from(claimed.due_at), None), else_=table.due_at)
    await write(session, claimed, {**values, "due_at": due_at, "leased_until": None}, where=where)


@asynccontextmanager
async def heartbeat(db: Database, claimed: Claim[Row]) -> AsyncIterator[None]:
    """Renew the lease every third of its duration while the body runs; cancel the body when the lease is lost.

    Raises `LeaseLost` then, which includes that no renewal succeeded before the lease's deadline. A body that ends
    before the first renewal costs a timer, and no task.
    """
    body = asyncio.current_task()
    if body is None:
        raise RuntimeError("A heartbeat needs a running task.")
    renewers: list[asyncio.Task[None]] = []
    timer = asyncio.get_running_loop().call_later(
        claimed.lease_seconds / 3, lambda: renewers.append(asyncio.create_task(_renew(db, claimed, body)))
    )
    try:
        yield
    except asyncio.CancelledError:
        if claimed.lost:
            body.uncancel()
            raise LeaseLost(f"{claimed.table.__tablename__} {claimed.row.id}") from None
        raise
    finally:
        timer.cancel()
        for renewer in renewers:
            renewer.cancel()
            await asyncio.gather(renewer, return_exceptions=True)


async def _renew(db: Database, claimed: Claim[Row], body: "asyncio.Task[Any]") -> None:
    while await _is_held(db, claimed):  # noqa: ASYNC110  (a period, not a wait for something)
        await asyncio.sleep(claimed.lease_seconds / 3)
    claimed.lost = True
    body.cancel()


async def _is_held(db: Database, claimed: Claim[Row]) -> bool:
    """Whether the lease was renewed, or could not be and has not expired yet."""
    table, started = claimed.table, time.monotonic()
    try:
        async with asyncio.timeout(max(0.0, claimed.deadline - started)), db.worker() as session:
            renewed = await session.scalar(
                update(table)
                .where(claimed.held(), table.leased_until > func.now())
                .values(leased_until=func.now() + dt.timedelta(seconds=claimed.lease_seconds))
                .returning(table.id)
            )
    except Exception as error:
        if time.monotonic() >= claimed.deadline:
            return False
        log.warning("lease.renewal_failed", row=claimed.row.id, error=repr(error))
        return True
    if renewed is None:
        return False
    claimed.deadline = _deadline(started, claimed.lease_seconds)
    return True


def _deadline(started: float, lease_seconds: float) -> float:
    return started + lease_seconds * (1 - LEASE_MARGIN_SHARE)
