"""Uploads and their parts, read within one project."""

from collections.abc import Sequence
from typing import Literal, cast

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import Upload, UploadPart
from service.errors import NotFound

Standing = Literal["pending", "joining", "completed", "cancelled", "expired"]
"""A status, where `joining` is a pending upload whose parts are being joined: it does not expire meanwhile."""

_STANDING = case(
    (Upload.status != "pending", Upload.status),
    (Upload.leased_until > func.now(), "joining"),
    (Upload.expires_at <= func.now(), "expired"),
    else_="pending",
)


async def get_upload(
    session: AsyncSession, project_id: str, upload_id: str, *, lock: bool = False
) -> tuple[Upload, Standing]:
    """The upload and how it stands by the database's clock, or `NotFound`. `lock` keeps both as they are."""
    query = select(Upload, _STANDING).where(Upload.project_id == project_id, Upload.id == upload_id)
    if lock:
        query = query.with_for_update()
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise NotFound(f"No such Upload object: {upload_id}", param="id", code="upload_not_found")
    row, standing = found
    return row, cast("Standing", standing)


async def list_parts(session: AsyncSession, upload: Upload) -> Sequence[UploadPart]:
    """Every part that has come in, in no particular order."""
    query = select(UploadPart).where(UploadPart.project_id == upload.project_id, UploadPart.upload_id == upload.id)
    return (await session.scalars(query)).all()


async def count_parts(session: AsyncSession, upload: Upload) -> tuple[int, int]:
    """How many parts have come in, and their bytes together."""
    query = select(func.count(), func.coalesce(func.sum(UploadPart.size_bytes), 0)).where(
        UploadPart.project_id == upload.project_id, UploadPart.upload_id == upload.id
    )
    count, size_bytes = (await session.execute(query)).one()
    return count, int(size_bytes)
