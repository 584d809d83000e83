"""Uploads: announcing one, taking its parts in, cancelling it. Each runs in its caller's transaction."""

import datetime as dt
from contextlib import suppress

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.database.tables import PendingUpload, Upload, UploadPart
from service.datasets.files.actions import clean_filename, read_purpose
from service.datasets.uploads.queries import Standing, count_parts, get_upload
from service.datasets.uploads.schemas import MAX_PARTS, CreateUpload
from service.errors import InvalidRequest, TooLarge
from service.ids import new_id
from service.limits.enforcement import check_file_size, check_storage
from service.storage import Storage, Stored

LIFE = dt.timedelta(hours=1)
MAX_PART_BYTES = 64 * 1024 * 1024
SENT_AGAIN = 2
"""Parts may add up to so many times the announced bytes: some are sent again and only one of them is then named."""

REMOVED_AT_ONCE = 200
"""Parts that an answer waits for; more are left to the janitor."""


async def create_upload(session: AsyncSession, *, project_id: str, body: CreateUpload, max_bytes: int) -> Upload:
    """Announce a file that will come in parts. Its bytes count as stored from now on.

    Raises `InvalidRequest`, `TooLarge` above `max_bytes` or the project's limit, `QuotaExceeded` without room for it.
    """
    purpose = read_purpose(body.purpose)
    if body.bytes > max_bytes:
        raise TooLarge(
            f"The file has {body.bytes:,} bytes; at most {max_bytes:,} are taken. Split it, or ask for a higher limit.",
            param="bytes",
        )
    await check_file_size(session, project_id, size_bytes=body.bytes)
    await check_storage(session, project_id, adding_bytes=body.bytes)
    row = Upload(
        id=new_id("upload_"),
        project_id=project_id,
        filename=clean_filename(body.filename),
        purpose=purpose,
        mime_type=body.mime_type,
        size_bytes=body.bytes,
        file_expires_after_seconds=body.expires_after.seconds if body.expires_after else None,
        expires_at=func.now() + LIFE,
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


def check_open(upload_id: str, standing: Standing) -> None:
    """Raises `InvalidRequest` for an upload that has ended."""
    match standing:
        case "pending" | "joining":
            return
        case "completed":
            raise InvalidRequest(
                f"Upload {upload_id} is completed. Make a new one to send more.", param="id", code="upload_completed"
            )
        case "cancelled":
            raise InvalidRequest(
                f"Upload {upload_id} was cancelled. Make a new one.", param="id", code="upload_cancelled"
            )
        case "expired":
            raise InvalidRequest(
                f"Upload {upload_id} has expired: an upload lives for an hour. Make a new one.",
                param="id",
                code="upload_expired",
            )


async def add_part(
    session: AsyncSession, *, project_id: str, upload_id: str, storage_key: str, stored: Stored
) -> UploadPart:
    """Make a part of an object that has been written.

    Raises `NotFound`, `InvalidRequest` for one too many, `QuotaExceeded` for more than was announced without room.
    """
    upload, standing = await get_upload(session, project_id, upload_id, lock=True)
    check_open(upload_id, standing)
    if stored.size_bytes == 0:
        raise InvalidRequest("The part is empty. Send at least one byte.", param="data")
    count, size_bytes = await count_parts(session, upload)
    most_bytes = SENT_AGAIN * upload.size_bytes
    if count >= MAX_PARTS or size_bytes + stored.size_bytes > most_bytes:
        raise InvalidRequest(
            f"Upload {upload_id} has {count:,} parts of {size_bytes:,} bytes together. It may have {MAX_PARTS:,} parts "
            f"of {most_bytes:,} bytes, which is {SENT_AGAIN} times what was announced. Make a new one.",
            param="data",
            code="too_many_parts",
        )
    beyond = size_bytes + stored.size_bytes - max(upload.size_bytes, size_bytes)
    await check_storage(session, project_id, adding_bytes=beyond)
    await session.execute(delete(PendingUpload).where(PendingUpload.storage_key == storage_key))
    part = UploadPart(
        id=new_id("part_"),
        project_id=project_id,
        upload_id=upload_id,
        size_bytes=stored.size_bytes,
        storage_key=storage_key,
    )
    session.add(part)
    await session.flush()
    await session.refresh(part)
    return part


async def cancel_upload(session: AsyncSession, project_id: str, upload_id: str) -> Upload:
    """End a pending upload; cancelling again changes nothing. Joining that is under way loses its lease and stops.

    Raises `NotFound`, and `InvalidRequest` for one that ended otherwise.
    """
    upload, standing = await get_upload(session, project_id, upload_id, lock=True)
    if standing != "cancelled":
        check_open(upload_id, standing)
        upload.status = "cancelled"
        upload.due_at = upload.leased_until = None
        upload.lease_token += 1
    return upload


async def remove_parts(db: Database, storage: Storage, project_id: str, upload_id: str) -> None:
    """Remove an ended upload's parts, best effort: their objects first, then the rows that know of these."""
    parts = select(UploadPart.id, UploadPart.storage_key).where(
        UploadPart.project_id == project_id, UploadPart.upload_id == upload_id
    )
    with suppress(Exception):
        async with db.project(project_id) as session:
            found = (await session.execute(parts.limit(REMOVED_AT_ONCE))).all()
        await storage.delete_all([part.storage_key for part in found])
        async with db.project(project_id) as session:
            await session.execute(delete(UploadPart).where(UploadPart.id.in_([part.id for part in found])))
