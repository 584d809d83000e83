"""Files: keeping what was uploaded, deleting, and asking for reports. Each runs in its caller's transaction."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import delete, func, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.catalogue.base_models import BaseModel
from service.database.leased_work import REPORTS, wake
from service.database.tables import File, FileReport, LeakageReport, PendingUpload
from service.datasets.files.queries import Uses, find_report, no_such_file, uses_of
from service.deletions.requests import request_deletion
from service.errors import Busy, Conflict, InvalidRequest
from service.identity.queries import check_not_deleted, get_project
from service.ids import new_id
from service.storage import Stored

FINE_TUNE = "fine-tune"
UPLOADABLE = (FINE_TUNE, "assistants", "batch", "vision", "user_data")
MAX_FILENAME_LENGTH = 255
EXPIRES_AFTER_SECONDS = range(3600, 2_592_001)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """What the form's text fields ask for."""

    filename: str
    purpose: str
    expires_after_seconds: int | None


def read_new_file(fields: dict[str, str], filename: str | None) -> NewFile:
    """Check the form's fields. Raises `InvalidRequest` with the field at fault."""
    for name in fields:
        if name not in ("purpose", "expires_after[anchor]", "expires_after[seconds]"):
            raise InvalidRequest(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    purpose = fields.get("purpose")
    if purpose is None:
        raise InvalidRequest(
            "Missing required parameter: 'purpose'.", param="purpose", code="missing_required_parameter"
        )
    check_purpose(purpose)
    return NewFile(
        filename=clean_filename(filename), purpose=purpose, expires_after_seconds=_expires_after_seconds(fields)
    )


def check_purpose(purpose: str) -> None:
    """Raises `InvalidRequest` for a purpose that cannot be uploaded."""
    if purpose not in UPLOADABLE:
        raise InvalidRequest(
            f"'{purpose[:64]}' is not one of the purposes {', '.join(UPLOADABLE)}. Training data is 'fine-tune'.",
            param="purpose",
            code="invalid_purpose",
        )


async def record_pending_upload(session: AsyncSession, project_id: str, storage_key: str) -> None:
    """Note that an object is about to be written, so that a crash cannot leave it behind unknown."""
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
    """Make the file of an object that has been written. Training data gets its report made, for `model`.

    Raises `InvalidRequest` when the project is being deleted: the object may have come in before that.
    """
    check_not_deleted(await get_project(session, project_id, lock="shared"))
    await session.execute(delete(PendingUpload).where(PendingUpload.storage_key == storage_key))
    life = new_file.expires_after_seconds
    row = File(
        id=new_id("file-"),
        project_id=project_id,
        filename=new_file.filename,
        purpose=new_file.purpose,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        storage_key=storage_key,
        status="uploaded" if new_file.purpose == FINE_TUNE else "processed",
        expires_at=func.now() + dt.timedelta(seconds=life) if life is not None else None,
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    if new_file.purpose == FINE_TUNE:
        await request_report(session, row, model)
    return row


async def request_report(session: AsyncSession, file: File, model: BaseModel) -> FileReport:
    """The report for the model's encoding and limit; made by a worker if it is not there yet."""
    added = await session.scalar(
        insert(FileReport)
        .values(
            id=new_id("report-"),
            project_id=file.project_id,
            file_id=file.id,
            model=model.name,
            encoding=model.encoding,
            max_tokens=model.max_tokens,
            due_at=func.now(),
        )
        .on_conflict_do_nothing(index_elements=["file_id", "encoding", "max_tokens"])
        .returning(FileReport.id)
    )
    if added is not None:
        wake(session, REPORTS, added, 0)
    report = await find_report(session, file.project_id, file.id, model)
    if report is None:
        raise RuntimeError("A report that was just made is not there.")
    return report


async def delete_file(session: AsyncSession, project_id: str, file_id: str) -> None:
    """Delete a file for its callers at once; a worker deletes its bytes and its upstream copies.

    Raises `NotFound`, and `Conflict` while anything needs it.
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
    if uses.being_read:
        message = "The file is used for a report that is being made of it. Wait until it is ready."
        raise Busy(message, param="id", code="file_in_use")


async def discard_file(session: AsyncSession, project_id: str, file_id: str) -> Uses | None:
    """Mark a file deleted and have the rest of it deleted, unless something needs it; then the caller rolls back.

    None: there is no such file. Whoever is about to use a file locks its row, so either they see that it is deleted, or
    this sees what they do. Reports go here already, since they show parts of the file.
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


async def delete_reports(session: AsyncSession, project_id: str, file_id: str) -> None:
    """Delete what was found in a file, and between it and others."""
    await session.execute(delete(FileReport).where(FileReport.project_id == project_id, FileReport.file_id == file_id))
    pair = or_(LeakageReport.training_file_id == file_id, LeakageReport.validation_file_id == file_id)
    await session.execute(delete(LeakageReport).where(LeakageReport.project_id == project_id, pair))


def clean_filename(filename: str | None) -> str:
    """A name that is no path, without what cannot be shown."""
    name = (filename or "file").replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(char for char in name if char.isprintable()).strip()[:MAX_FILENAME_LENGTH]
    return name or "file"


def _in_use(how: str) -> Conflict:
    return Conflict(f"The file is used {how}", param="id", code="file_in_use")


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
