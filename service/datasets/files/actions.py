"""Creates and deletes files. Each action runs in its caller's transaction."""

import datetime as dt
from dataclasses import dataclass
from pathlib import PurePath

from sqlalchemy import delete, func, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import BaseModel
from service.database.tables import File, PendingUpload
from service.datasets.files.queries import FINE_TUNE, Uses, no_such_file, uses_of
from service.datasets.files.reports import delete_reports, request_report
from service.deletions.requests import request_deletion
from service.errors import Busy, Conflict, InvalidRequest
from service.http.dispositions import decode_words
from service.identity.queries import check_not_deleted, get_project
from service.ids import new_id
from service.states import FilePurpose
from service.storage import Stored

UPLOADABLE: tuple[FilePurpose, ...] = (FINE_TUNE, "assistants", "batch", "vision", "user_data")
MAX_FILENAME_LENGTH = 255
MAX_SUFFIX_LENGTH = 32
EXPIRES_AFTER_SECONDS = range(3600, 2_592_001)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """The file to create, as the text fields of the form describe it."""

    filename: str
    purpose: FilePurpose
    expires_after_seconds: int | None


def read_new_file(fields: dict[str, str], filename: str | None) -> NewFile:
    """Read the form's fields. Raises `InvalidRequest` with the field at fault."""
    for name in fields:
        if name not in ("purpose", "expires_after[anchor]", "expires_after[seconds]"):
            raise InvalidRequest(
                f"Unknown parameter: '{name}'. An upload has the fields file, purpose, expires_after[anchor] and "
                "expires_after[seconds].",
                param=name,
                code="unknown_parameter",
            )
    purpose = fields.get("purpose")
    if purpose is None:
        raise InvalidRequest(
            "Missing required parameter: 'purpose'. Training data is 'fine-tune': with curl -F purpose=fine-tune.",
            param="purpose",
            code="missing_required_parameter",
        )
    return NewFile(
        filename=clean_filename(filename),
        purpose=read_purpose(purpose),
        expires_after_seconds=_expires_after_seconds(fields),
    )


def read_purpose(text: str) -> FilePurpose:
    """The purpose of a file to upload. Raises `InvalidRequest` for a purpose that cannot be uploaded."""
    for purpose in UPLOADABLE:
        if text == purpose:
            return purpose
    raise InvalidRequest(
        f"'{text[:64]}' is not one of the purposes {', '.join(UPLOADABLE)}. Training data is 'fine-tune'.",
        param="purpose",
        code="invalid_purpose",
    )


async def record_pending_upload(session: AsyncSession, project_id: str, storage_key: str) -> None:
    """Record that an object is about to be written, so that the storage clean-up finds it after a crash."""
    session.add(PendingUpload(storage_key=storage_key, project_id=project_id))


async def create_file(
    session: AsyncSession,
    *,
    project_id: str,
    storage_key: str,
    new_file: NewFile,
    stored: Stored,
    model: BaseModel,
) -> File:
    """Create the file of an object that has been written. For training data it requests the report, for `model`.

    Raises `InvalidRequest` when the project is being deleted: the upload may have begun before that.
    """
    check_not_deleted(await get_project(session, project_id, lock="shared"))
    await session.execute(delete(PendingUpload).where(PendingUpload.storage_key == storage_key))
    expires_after = new_file.expires_after_seconds
    row = File(
        id=new_id("file-"),
        project_id=project_id,
        filename=new_file.filename,
        purpose=new_file.purpose,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        storage_key=storage_key,
        status="uploaded" if new_file.purpose == FINE_TUNE else "processed",
        expires_at=func.now() + dt.timedelta(seconds=expires_after) if expires_after is not None else None,
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    if new_file.purpose == FINE_TUNE:
        await request_report(session, row, model)
    return row


async def delete_file(session: AsyncSession, project_id: str, file_id: str) -> None:
    """Delete a file for its callers at once; a worker deletes its bytes and its upstream files.

    Raises `NotFound`, and `Conflict` while unfinished work needs it.
    """
    uses = await discard_file(session, project_id, file_id)
    if uses is None:
        raise no_such_file(file_id)
    if uses.jobs:
        raise _in_use(f"by a job that has not ended: {', '.join(uses.jobs)}. Cancel it, or wait for its end.")
    if uses.preparations:
        raise _in_use(f"by a preparation that has not ended: {', '.join(uses.preparations)}. Cancel it, or wait.")
    if uses.runs:
        raise _in_use(f"by a comparison that has not ended: {', '.join(uses.runs)}. Cancel it, or wait.")
    if uses.experiments:
        raise _in_use(f"by an experiment that has not ended: {', '.join(uses.experiments)}. Cancel it, or wait.")
    if uses.being_read:
        message = "The file is used for a report that is being made of it. Wait until it is ready."
        raise Busy(message, param="id", code="file_in_use")


async def discard_file(session: AsyncSession, project_id: str, file_id: str) -> Uses | None:
    """Mark a file deleted and request the deletion of its content. If unfinished work needs it, the caller rolls back.

    Returns that work, or None if there is no such file. A request that starts to use a file locks its row, so either
    the request sees that the file is deleted, or this function sees the request's work. Reports are deleted here
    already, since they show parts of the file.
    """
    deleted = await session.scalar(
        update(File)
        .where(File.project_id == project_id, File.id == file_id, File.deleted_at.is_(None))
        .values(deleted_at=func.now(), status_details=None)
        .returning(File.id)
    )
    if deleted is None:
        return None
    uses = await uses_of(session, project_id, file_id)
    if not uses:
        await delete_reports(session, project_id, file_id)
        await request_deletion(session, project_id=project_id, kind="file", subject=file_id)
    return uses


def clean_filename(filename: str | None) -> str:
    """The last part of a path, without quotes around it and characters that cannot be printed, and with encoded words
    (RFC 2047) decoded.

    Where it is too long, its end stays: the suffix decides how a file is read.
    """
    name = decode_words(filename or "").replace("\\", "/").rstrip("/ ").rsplit("/", 1)[-1]
    name = "".join(char for char in name if char.isprintable()).strip()
    name = name[1:-1] if name.startswith('"') and name.endswith('"') else name
    suffixes = "".join(PurePath(name).suffixes[-2:])[-MAX_SUFFIX_LENGTH:]
    return name.removesuffix(suffixes)[: MAX_FILENAME_LENGTH - len(suffixes)] + suffixes or "file"


def _in_use(by: str) -> Conflict:
    return Conflict(f"The file is used {by}", param="id", code="file_in_use")


def _expires_after_seconds(fields: dict[str, str]) -> int | None:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise InvalidRequest(
            "expires_after[anchor] must be 'created_at'.", param="expires_after.anchor", code="invalid_value"
        )
    if seconds is None or not seconds.isdecimal() or len(seconds) > 9 or int(seconds) not in EXPIRES_AFTER_SECONDS:
        raise InvalidRequest(
            "expires_after[seconds] must be a whole number from 3600 (an hour) to 2592000 (30 days).",
            param="expires_after.seconds",
            code="invalid_value",
        )
    return int(seconds)
