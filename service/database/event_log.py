"""Events of long work, in the order of their commits: of jobs, and of runs.

Who appends takes places under the lock of the row that the events are about, so their order is that of the commits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from service.database.tables import Job, JobEvent, Run, RunEvent
from service.errors import unknown_cursor

Event = TypeVar("Event", JobEvent, RunEvent)


@dataclass(frozen=True, slots=True)
class EventLog(Generic[Event]):
    """The events of one kind of work; `owner` is the column that says whose they are."""

    table: type[Event]
    owner: InstrumentedAttribute[str]

    async def page(
        self, session: AsyncSession, project_id: str, owner_id: str, *, after: str | None, limit: int
    ) -> Sequence[Event]:
        """Up to `limit + 1` events, newest first. Raises `InvalidRequest` for an unknown cursor."""
        table = self.table
        wanted = select(table).where(table.project_id == project_id, self.owner == owner_id)
        if after is not None:
            wanted = wanted.where(table.sequence < await self.place(session, project_id, owner_id, after))
        return (await session.scalars(wanted.order_by(table.sequence.desc()).limit(limit + 1))).all()

    async def place(self, session: AsyncSession, project_id: str, owner_id: str, event_id: str) -> int:
        """An event's place. Raises `InvalidRequest` for an id that is not among them."""
        table = self.table
        sequence = await session.scalar(
            select(table.sequence).where(table.project_id == project_id, self.owner == owner_id, table.id == event_id)
        )
        if sequence is None:
            raise unknown_cursor(event_id)
        return sequence

    async def since(
        self, session: AsyncSession, project_id: str, owner_id: str, *, sequence: int, limit: int
    ) -> Sequence[Event]:
        """Events after a place, oldest first: what a stream sends next."""
        table = self.table
        wanted = select(table).where(table.project_id == project_id, self.owner == owner_id, table.sequence > sequence)
        return (await session.scalars(wanted.order_by(table.sequence).limit(limit))).all()


async def take_places(session: AsyncSession, table: type[Job] | type[Run], row_id: str, count: int) -> int:
    """Take the next places for events about a row, under its lock. Returns the last of them."""
    last: int | None = await session.scalar(
        update(table)
        .where(table.id == row_id)
        .values(last_sequence=table.last_sequence + count)
        .returning(table.last_sequence)
    )
    if last is None:
        raise RuntimeError(f"{row_id} is gone.")
    return last
