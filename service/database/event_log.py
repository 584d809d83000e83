"""The events of jobs and runs, in the order of their commits.

A writer takes sequence numbers under the lock of the row that the events are about, so they follow the commits.
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
    """The events of jobs, or of runs; `owner` is the column with the id of the job or run."""

    table: type[Event]
    owner: InstrumentedAttribute[str]

    async def page(
        self, session: AsyncSession, project_id: str, owner_id: str, *, after: str | None, limit: int
    ) -> Sequence[Event]:
        """Up to `limit + 1` events, newest first. Raises `InvalidRequest` for an unknown cursor."""
        table = self.table
        query = select(table).where(table.project_id == project_id, self.owner == owner_id)
        if after is not None:
            query = query.where(table.sequence < await self.sequence_of(session, project_id, owner_id, after))
        return (await session.scalars(query.order_by(table.sequence.desc()).limit(limit + 1))).all()

    async def sequence_of(self, session: AsyncSession, project_id: str, owner_id: str, event_id: str) -> int:
        """The sequence number of an event. Raises `InvalidRequest` for an unknown id."""
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
        """Up to `limit` events after a sequence number, oldest first, which a stream sends next."""
        table = self.table
        query = select(table).where(table.project_id == project_id, self.owner == owner_id, table.sequence > sequence)
        return (await session.scalars(query.order_by(table.sequence).limit(limit))).all()


async def take_sequence_numbers(session: AsyncSession, table: type[Job] | type[Run], row_id: str, count: int) -> int:
    """Take the next sequence numbers for events about a row, locking it. Returns the last of them."""
    last: int | None = await session.scalar(
        update(table)
        .where(table.id == row_id)
        .values(last_sequence=table.last_sequence + count)
        .returning(table.last_sequence)
    )
    if last is None:
        raise RuntimeError(f"{row_id} does not exist.")
    return last
