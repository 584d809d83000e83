"""Creates and cancels uploads, and adds their parts. All but `remove_parts` run in their caller's transaction."""

import datetime as dt
from contextlib import suppress

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database
from service.database.tables import PendingUpload, Upload, UploadPart
from service.datasets.files.actions import clean_filename, read_purpose
from service.datasets.uploads.queries import UploadState, count_open_uploads, count_parts, get_upload
from service.datasets.uploads.schemas import MAX_PARTS, CreateUpload
from service.errors import InvalidRequest, QuotaExceeded, TooLarge
from service.ids import new_id
from service.limits.enforcement import check_file_size, check_storage
from service.storage import Storage, Stored

LIFETIME = dt.timedelta(hours=1)
MAX_PART_BYTES = 64 * 1024 * 1024
MAX_PARTS_FACTOR = 2
"""Parts may add up to this many times the announced bytes, since a client may send a part again and name only one."""

MAX_REMOVED_PARTS = 200
"""Parts that are removed before the request is answered; the storage clean-up removes the rest."""


async def create_upload(
    session: AsyncSession, *, project_id: str, body: CreateUpload, max_bytes: int, max_open: int
) -> Upload:
    """Create the upload of a file that will be sent in parts. Its announced bytes count as stored from now on.

    Raises `InvalidRequest`, `TooLarge` above `max_bytes` or the project's limit, and `QuotaExceeded` when the project's
    storage is full or it has `max_open` uploads open.
    """
    purpose = read_purpose(body.purpose)
    if body.bytes > max_bytes:
        raise TooLarge(
            f"The file has {body.bytes:,} bytes; the limit is {max_bytes:,}. Split it, or ask for a higher limit.",
            param="bytes",
        )
    await check_file_size(session, project_id, size_bytes=body.bytes)
    await check_storage(session, project_id, adding_bytes=body.bytes)
    if await count_open_uploads(session, project_id) >= max_open:
        raise QuotaExceeded(
            f"The project has {max_open:,} uploads open, which is the limit (TUNEGATE_MAX_OPEN_UPLOADS). Complete or "
            "cancel some; they expire after an hour.",
            code="too_many_uploads",
        )
    row = Upload(
        id=new_id("upload_"),
        project_id=project_id,
        filename=clean_filename(body.filename),
        purpose=purpose,
        mime_type=body.mime_type,
        size_bytes=body.bytes,
        file_expires_after_seconds=body.expires_after.seconds if body.expires_after else None,
        expires_at=func.now() + LIFETIME,
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


def check_open(upload_id: str, state: UploadState) -> None:
    """Raises `InvalidRequest` for an upload that has ended."""
    match state:
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
    """Create the part of an object that has been written.

    Raises `NotFound`, `InvalidRequest` for too many parts, and `QuotaExceeded` where the bytes beyond those announced
    exceed the project's storage limit.
    """
    upload, state = await get_upload(session, project_id, upload_id, lock=True)
    check_open(upload_id, state)
    if stored.size_bytes == 0:
        raise InvalidRequest("The part is empty. Send at least one byte.", param="data")
    count, size_bytes = await count_parts(session, upload)
    max_bytes = MAX_PARTS_FACTOR * upload.size_bytes
    if count >= MAX_PARTS or size_bytes + stored.size_bytes > max_bytes:
        raise InvalidRequest(
            f"Upload {upload_id} has {count:,} parts of {size_bytes:,} bytes together. It may have {MAX_PARTS:,} parts "
            f"of {max_bytes:,} bytes, which is {MAX_PARTS_FACTOR} times what was announced. Make a new one.",
            param="data",
            code="too_many_parts",
        )
    unannounced_bytes = size_bytes + stored.size_bytes - max(upload.size_bytes, size_bytes)
    await check_storage(session, project_id, adding_bytes=unannounced_bytes)
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
    """Cancel a pending upload; a second cancel changes nothing. A call that joins its parts loses the lease and stops.

    Raises `NotFound`, and `InvalidRequest` for an upload that was completed or expired.
    """
    upload, state = await get_upload(session, project_id, upload_id, lock=True)
    if state != "cancelled":
        check_open(upload_id, state)
        upload.status = "cancelled"
        upload.due_at = upload.leased_until = None
        upload.lease_token += 1
    return upload


async def remove_parts(db: Database, storage: Storage, project_id: str, upload_id: str) -> None:
    """Remove the parts of an ended upload, best effort: the objects first, then the rows that refer to them."""
    parts = select(UploadPart.id, UploadPart.storage_key).where(
        UploadPart.project_id == project_id, UploadPart.upload_id == upload_id
    )
    with suppress(Exception):
        async with db.project(project_id) as session:
            found = (await session.execute(parts.limit(MAX_REMOVED_PARTS))).all()
        await storage.delete_all([part.storage_key for part in found])
        async with db.project(project_id) as session:
            await session.execute(delete(UploadPart).where(UploadPart.id.in_([part.id for part in found])))
