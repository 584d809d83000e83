"""Wire types of files, as the SDK's `FileObject` has them."""

import datetime as dt
from typing import Annotated, Literal, Protocol

import msgspec

from service.http.wire_types import RequestModel, unix
from service.states import FilePurpose, FileStatus


class FileObject(msgspec.Struct, frozen=True, kw_only=True):
    """A file. `status` is `uploaded` while its report is being made, then `processed` or `error`."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: FilePurpose
    status: FileStatus
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
    purpose: FilePurpose | None = None


class ReportQuery(RequestModel, frozen=True, kw_only=True):
    """The model whose encoding and token limit the report uses, and the validation file to compare the file with."""

    model: str | None = None
    validation_file: str | None = None


class ShownFile(Protocol):
    """The attributes of a file's row that callers see."""

    @property
    def id(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def created_at(self) -> dt.datetime: ...
    @property
    def expires_at(self) -> dt.datetime | None: ...
    @property
    def filename(self) -> str: ...
    @property
    def purpose(self) -> FilePurpose: ...
    @property
    def status(self) -> FileStatus: ...
    @property
    def status_details(self) -> str | None: ...


def show_file(row: ShownFile) -> FileObject:
    """The wire form of a row."""
    return FileObject(
        id=row.id,
        bytes=row.size_bytes,
        created_at=unix(row.created_at),
        expires_at=unix(row.expires_at) if row.expires_at else None,
        filename=row.filename,
        purpose=row.purpose,
        status=row.status,
        status_details=row.status_details,
    )
