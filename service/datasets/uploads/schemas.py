"""Wire types of uploads, as the SDK's `Upload` and `UploadPart` have them."""

from typing import Annotated, Literal

import msgspec

from service.database.tables import File, Upload, UploadPart
from service.datasets.files.schemas import FileObject, show_file
from service.http.wire_types import RequestModel, unix
from service.states import UploadStatus

MAX_PARTS = 10_000


class ExpiresAfter(RequestModel, frozen=True, kw_only=True):
    """When the file that the upload becomes expires."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, msgspec.Meta(ge=3600, le=2_592_000)]


class CreateUpload(RequestModel, frozen=True, kw_only=True):
    """The file that will be sent. `bytes` is its whole length, which the parts must add up to."""

    bytes: Annotated[int, msgspec.Meta(ge=1)]
    filename: Annotated[str, msgspec.Meta(min_length=1)]
    mime_type: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    purpose: str
    expires_after: ExpiresAfter | None = None


class CompleteUpload(RequestModel, frozen=True, kw_only=True):
    """The parts in the order of the file, and optionally the MD5 of the whole file in hex, to be checked."""

    part_ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_PARTS)]
    md5: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{32}\Z")] | None = None


class UploadObject(msgspec.Struct, frozen=True, kw_only=True):
    """An upload. `file` is set once the upload is completed, and null again after that file was deleted."""

    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: UploadStatus
    file: FileObject | None


class UploadPartObject(msgspec.Struct, frozen=True, kw_only=True):
    """A part that was received whole."""

    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: int
    upload_id: str


def show_upload(row: Upload, file: File | None) -> UploadObject:
    """The API's object for an upload, with the file that its completion created."""
    return UploadObject(
        id=row.id,
        bytes=row.size_bytes,
        created_at=unix(row.created_at),
        expires_at=unix(row.expires_at),
        filename=row.filename,
        purpose=row.purpose,
        status=row.status,
        file=show_file(file) if file is not None else None,
    )


def show_part(row: UploadPart) -> UploadPartObject:
    """The wire form of a row."""
    return UploadPartObject(id=row.id, created_at=unix(row.created_at), upload_id=row.upload_id)
