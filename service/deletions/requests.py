"""Requests a deletion: writes a row of leased work in the transaction that makes the object superfluous."""

import datetime as dt

from sqlalchemy import func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.leased_work import DELETIONS, wake
from service.database.tables import Deletion
from service.ids import new_id
from service.states import DeletionKind


async def request_deletion(
    session: AsyncSession,
    *,
    project_id: str,
    kind: DeletionKind,
    subject: str,
    account_id: str | None = None,
    upstream_id: str | None = None,
    sha256: str | None = None,
    size_bytes: int | None = None,
    in_seconds: float = 0.0,
) -> None:
    """Request that a worker deletes an object after `in_seconds`. Does nothing while an earlier request is not done."""
    added = await session.scalar(
        insert(Deletion)
        .values(
            id=new_id("deletion-"),
            project_id=project_id,
            kind=kind,
            subject=subject,
            account_id=account_id,
            upstream_id=upstream_id,
            sha256=sha256,
            size_bytes=size_bytes,
            due_at=func.now() + dt.timedelta(seconds=in_seconds),
        )
        .on_conflict_do_nothing(index_elements=["kind", "subject"], index_where=text("status <> 'done'"))
        .returning(Deletion.id)
    )
    if added is not None and in_seconds == 0.0:
        wake(session, DELETIONS, added, 0)
