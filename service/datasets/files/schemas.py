"""Files on the wire, as the SDK's `FileObject` has them."""

from typing import Annotated, Literal

import msgspec

from service.database.tables import File
from service.http.wire_types import RequestModel, unix

Purpose = Literal[
    "assistants", "assistants_output", "batch", "batch_output", "fine-tune", "fine-tune-results", "vision", "user_data"
]
"""What a file can be for, as the SDK's `FileObject` has it."""


class FileObject(msgspec.Struct, frozen=True, kw_only=True):
    """A file. `status` is `uploaded` while its report is being made, then `processed` or `error`."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: Purpose
    status: Literal["uploaded", "processed", "error"]
    status_details: str | None


class FileDeleted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a deletion."""

    id: str
    object: Literal["file"] = "file"
    deleted: bool = True


class ListFiles(RequestModel, frozen=True, kw_only=True):
    """The query of a list of files."""

    after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 10_000
    order: Literal["asc", "desc"] = "desc"
    purpose: Purpose | None = None


class ReportQuery(RequestModel, frozen=True, kw_only=True):
    """Which model's encoding and token limit the report is for, and which validation file to compare the file with."""

    model: str | None = None
    validation_file: str | None = None


def show_file(row: File) -> FileObject:
    """A row on the wire."""
    return FileObject(
        id=row.id,
        bytes=row.size_bytes,
        created_at=unix(row.created_at),
        expires_at=unix(row.expires_at) if row.expires_at else None,
        filename=row.filename,
        purpose=row.purpose,  # type: ignore[arg-type]  # checked when it was uploaded
        status=row.status,  # type: ignore[arg-type]  # held by a CHECK
        status_details=row.status_details,
    )
