"""Files: keeping what was uploaded, deleting, and asking for reports. Each runs in its caller's transaction."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.datasets.queries import find_report, live_jobs_of, no_such_file
from service.doorbell import hint
from service.errors import Conflict, InvalidRequest
from service.ids import new_id
from service.models.catalogue import BaseModel
from service.storage import Stored
from service.tables import File, FileReport, PendingUpload

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


def new_file(fields: dict[str, str], filename: str | None) -> NewFile:
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


async def announce_upload(session: AsyncSession, project_id: str, storage_key: str) -> None:
    """Note that an object is about to be written, so that a crash cannot leave it behind unknown."""
    session.add(PendingUpload(storage_key=storage_key, project_id=project_id))


async def keep_file(
    session: AsyncSession,
    *,
    project_id: str,
    storage_key: str,
    wanted: NewFile,
    stored: Stored,
    model: BaseModel,
) -> File:
    """Make the file of an object that has been written. Training data gets its report made, for `model`."""
    await session.execute(delete(PendingUpload).where(PendingUpload.storage_key == storage_key))
    life = wanted.expires_after_seconds
    row = File(
        id=new_id("file-"),
        project_id=project_id,
        filename=wanted.filename,
        purpose=wanted.purpose,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
        storage_key=storage_key,
        status="uploaded" if wanted.purpose == FINE_TUNE else "processed",
        expires_at=func.now() + dt.timedelta(seconds=life) if life is not None else None,
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    if wanted.purpose == FINE_TUNE:
        await ask_for_report(session, row, model)
    return row


async def ask_for_report(session: AsyncSession, file: File, model: BaseModel) -> FileReport:
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
        hint(session, "validate_dataset", added, 0)
    report = await find_report(session, file.project_id, file.id, model)
    if report is None:
        raise RuntimeError("A report that was just made is not there.")
    return report


async def delete_file(session: AsyncSession, project_id: str, file_id: str) -> str:
    """Mark a file deleted and return its storage key; its bytes go after the commit.

    Raises `NotFound`, and `Conflict` while a job needs it.
    """
    storage_key: str | None = await session.scalar(
        update(File)
        .where(File.project_id == project_id, File.id == file_id, File.deleted_at.is_(None))
        .values(deleted_at=func.now())
        .returning(File.storage_key)
    )
    if storage_key is None:
        raise no_such_file(file_id)
    jobs = await live_jobs_of(session, project_id, file_id)
    if jobs:
        raise Conflict(
            f"The file is used by a job that has not ended: {', '.join(jobs)}. Cancel it, or wait for its end.",
            param="id",
            code="file_in_use",
        )
    return storage_key


async def content_deleted(session: AsyncSession, storage_key: str) -> None:
    """Note that a deleted file's bytes are gone."""
    await session.execute(update(File).where(File.storage_key == storage_key).values(content_deleted_at=func.now()))


def clean_filename(filename: str | None) -> str:
    """A name that is no path, without what cannot be shown."""
    name = (filename or "file").replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(char for char in name if char.isprintable()).strip()[:MAX_FILENAME_LENGTH]
    return name or "file"


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
