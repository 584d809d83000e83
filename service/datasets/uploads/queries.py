"""Reads uploads and their parts within one project."""

from collections.abc import Sequence
from typing import Literal, cast

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.advisory_locks import PROJECT_UPLOADS
from service.database.tables import Upload, UploadPart
from service.errors import NotFound

UploadState = Literal["pending", "joining", "completed", "cancelled", "expired"]
"""The status of an upload, by the database's clock: `joining` is a pending upload whose parts are being joined.

It cannot expire meanwhile.
"""

_STATE = case(
    (Upload.status != "pending", Upload.status),
    (Upload.leased_until > func.now(), "joining"),
    (Upload.expires_at <= func.now(), "expired"),
    else_="pending",
)


async def get_upload(
    session: AsyncSession, project_id: str, upload_id: str, *, lock: bool = False
) -> tuple[Upload, UploadState]:
    """The upload and its state. With `lock` both stay as they are until the transaction ends. Raises `NotFound`."""
    query = select(Upload, _STATE).where(Upload.project_id == project_id, Upload.id == upload_id)
    if lock:
        query = query.with_for_update()
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise NotFound(f"No such Upload object: {upload_id}", param="id", code="upload_not_found")
    row, state = found
    return row, cast("UploadState", state)


async def list_parts(session: AsyncSession, upload: Upload) -> Sequence[UploadPart]:
    """Every part that was received, in no particular order."""
    query = select(UploadPart).where(UploadPart.project_id == upload.project_id, UploadPart.upload_id == upload.id)
    return (await session.scalars(query)).all()


async def count_parts(session: AsyncSession, upload: Upload) -> tuple[int, int]:
    """The number of parts that were received, and the sum of their bytes."""
    query = select(func.count(), func.coalesce(func.sum(UploadPart.size_bytes), 0)).where(
        UploadPart.project_id == upload.project_id, UploadPart.upload_id == upload.id
    )
    count, size_bytes = (await session.execute(query)).one()
    return count, int(size_bytes)


async def count_open_uploads(session: AsyncSession, project_id: str) -> int:
    """The number of the project's uploads that are pending and have not expired.

    No other transaction can add one until this one ends.
    """
    await session.execute(PROJECT_UPLOADS.take(project_id))
    query = select(func.count()).where(
        Upload.project_id == project_id, Upload.status == "pending", Upload.expires_at > func.now()
    )
    return (await session.scalars(query)).one()
