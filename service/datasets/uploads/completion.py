"""Completes an upload: joins its parts into one object, which becomes an ordinary file.

Joining 8 GB takes minutes. Meanwhile a caller may time out and repeat the call, or the process may be killed. So
joining is leased work on the upload's row: one call at a time joins and renews the lease; other calls wait and return
the same answer, or take over when the lease has ended. The file, the completion of the upload and the request for its
report are one transaction, fenced by the lease: a crash at any point leaves a pending upload with all its parts, and no
second file.
"""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from service import fault_points
from service.catalogue.base_models import BaseModel
from service.database import leases
from service.database.engine import Database
from service.database.leases import Claim, LeaseLost
from service.database.tables import Upload, UploadPart
from service.datasets.files.actions import NewFile, create_file
from service.datasets.files.queries import FINE_TUNE, find_file
from service.datasets.files.staged_object import StagedObject, staged_object
from service.datasets.uploads.actions import LIFETIME, check_open
from service.datasets.uploads.queries import get_upload, list_parts
from service.datasets.uploads.schemas import CompleteUpload, UploadObject, show_upload
from service.errors import InFlight, InvalidRequest
from service.limits.unfinished_work import check_file_reports
from service.storage import Storage, Stored

WAIT_SECONDS = 540.0
"""How long a call waits for another call that joins the same parts: less than the 600 s of the SDK's own timeout."""

POLL_SECONDS = 0.2
GRACE = dt.timedelta(minutes=15)
"""Added once to the lifetime of an upload whose completion began in time, so that it can be finished after a crash."""


@dataclass(frozen=True, slots=True)
class JoinClaim:
    """The claimed upload, and its parts in the order in which to join them."""

    claimed: Claim[Upload]
    parts: Sequence[UploadPart]


async def complete_upload(
    db: Database,
    storage: Storage,
    *,
    project_id: str,
    upload_id: str,
    body: CompleteUpload,
    model: BaseModel,
    lease_seconds: float,
) -> UploadObject:
    """Join the parts and create the file, exactly once for all concurrent and repeated calls.

    Raises `NotFound`, `InvalidRequest` for parts that do not add up to the announced file or for an upload that was
    cancelled or expired, and `InFlight` when another call is still joining the parts after `WAIT_SECONDS`.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        async with db.project(project_id) as session:
            found = await _answer_or_claim(session, project_id, upload_id, body, lease_seconds)
        if isinstance(found, UploadObject):
            return found
        if found is not None:
            with suppress(LeaseLost):
                return await _join(db, storage, found, body, model)
        elif time.monotonic() > deadline:
            raise InFlight(f"The parts of {upload_id} are still being joined. Ask again.", retry_after_seconds=5)
        else:
            await asyncio.sleep(POLL_SECONDS)


async def _answer_or_claim(
    session: AsyncSession, project_id: str, upload_id: str, body: CompleteUpload, lease_seconds: float
) -> UploadObject | JoinClaim | None:
    """The answer of a completed upload, or a claim to join its parts; None while another call is joining them."""
    upload, state = await get_upload(session, project_id, upload_id, lock=True)
    if state == "completed" and upload.part_ids == body.part_ids:
        _check_md5(upload.md5, body)
        file = await find_file(session, project_id, upload.file_id or "")
        return show_upload(upload, file)
    check_open(upload_id, state)
    if state == "joining":
        return None
    parts = _in_order(body.part_ids, await list_parts(session, upload))
    _check_size(upload, parts)
    session.expunge(upload)
    is_upload = (Upload.project_id == project_id) & (Upload.id == upload_id)
    await session.execute(
        update(Upload).where(is_upload).values(due_at=func.now(), expires_at=Upload.created_at + LIFETIME + GRACE)
    )
    claimed = await leases.claim(session, Upload, lease_seconds=lease_seconds, where=[is_upload])
    return JoinClaim(claimed[0], parts) if claimed else None


async def _join(
    db: Database, storage: Storage, join: JoinClaim, body: CompleteUpload, model: BaseModel
) -> UploadObject:
    claimed = join.claimed
    async with leases.heartbeat(db, claimed), staged_object(db, storage, claimed.row.project_id) as staged:
        try:
            stored = await staged.write(_joined(storage, join.parts), with_md5=True)
            _check_md5(stored.md5, body)
            fault_points.point("upload.joined")
            return await _record(db, staged, claimed, stored, body, model)
        except Exception:
            if not staged.handed_over:
                await _release(db, claimed)
            raise


async def _record(
    db: Database, staged: StagedObject, claimed: Claim[Upload], stored: Stored, body: CompleteUpload, model: BaseModel
) -> UploadObject:
    upload = claimed.row
    async with db.project(upload.project_id) as session:
        if upload.purpose == FINE_TUNE:
            await check_file_reports(session, upload.project_id)
        file = await create_file(
            session,
            project_id=upload.project_id,
            storage_key=staged.storage_key,
            new_file=NewFile(
                filename=upload.filename,
                purpose=upload.purpose,
                expires_after_seconds=upload.file_expires_after_seconds,
            ),
            stored=stored,
            model=model,
        )
        ended = {"status": "completed", "file_id": file.id, "part_ids": body.part_ids, "md5": stored.md5}
        await leases.give_back(session, claimed, ended, due_in_seconds=None)
        recorded, _ = await get_upload(session, upload.project_id, upload.id)
        answer = show_upload(recorded, file)
        staged.handed_over = True
    return answer


async def _release(db: Database, claimed: Claim[Upload]) -> None:
    """End the lease at once, so that the next call need not wait for its end. Raises `LeaseLost`."""
    async with db.project(claimed.row.project_id) as session:
        await leases.give_back(session, claimed, {}, due_in_seconds=None)


async def _joined(storage: Storage, parts: Sequence[UploadPart]) -> AsyncIterator[bytes]:
    for part in parts:
        async for chunk in storage.read(part.storage_key):
            yield chunk


def _in_order(part_ids: Sequence[str], parts: Sequence[UploadPart]) -> list[UploadPart]:
    known = {part.id: part for part in parts}
    ordered: dict[str, UploadPart] = {}
    for part_id in part_ids:
        if part_id in ordered:
            raise InvalidRequest(
                f"Part '{part_id[:64]}' is named twice. Name each part once, in the order of the file.",
                param="part_ids",
                code="duplicate_part",
            )
        if part_id not in known:
            raise InvalidRequest(
                f"This upload has no part '{part_id[:64]}'. Name the ids that adding the parts has answered.",
                param="part_ids",
                code="part_not_found",
            )
        ordered[part_id] = known[part_id]
    return list(ordered.values())


def _check_size(upload: Upload, parts: Sequence[UploadPart]) -> None:
    size_bytes = sum(part.size_bytes for part in parts)
    if size_bytes != upload.size_bytes:
        raise InvalidRequest(
            f"The parts have {size_bytes:,} bytes together, and {upload.size_bytes:,} were announced. "
            "Name every part, or make a new upload.",
            param="part_ids",
            code="upload_size_mismatch",
        )


def _check_md5(actual: str | None, body: CompleteUpload) -> None:
    if body.md5 is not None and body.md5.lower() != actual:
        raise InvalidRequest(
            f"The parts in this order have the MD5 {actual}, not {body.md5.lower()}. "
            "Check their order, and send a damaged part again.",
            param="md5",
            code="md5_mismatch",
        )
