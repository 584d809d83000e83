"""Receives a multipart upload and streams it to disk, so that memory does not grow with the file."""

import asyncio
from pathlib import Path
from typing import Any

import multipart
from litestar import Request

from .errors import ApiError

_MAX_FIELD_BYTES = 4_096
_MAX_PARTS = 16


class Upload:
    """The form of `POST /v1/files`: small fields in memory, the file at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.size_bytes = 0


async def receive(request: Request[Any, Any, Any], path: Path, *, max_bytes: int) -> Upload:
    """Read the whole request; ApiError (and no file) when it is not a form, breaks off or is over `max_bytes`."""
    kind, options = request.content_type
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise ApiError(400, "Send the file as multipart/form-data with the fields 'file' and 'purpose'.")
    upload = Upload(path)
    try:
        with path.open("wb") as out:
            refusal = await _consume(request, _Form(upload, out, max_bytes), options["boundary"])
        if refusal is not None:
            raise refusal
        if upload.filename is None:
            raise ApiError(400, "The form has no file in the field 'file'.", param="file")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return upload


async def _consume(request: Request[Any, Any, Any], form: "_Form", boundary: str) -> ApiError | None:
    """Feed the form; after a refusal the rest is read and dropped, since an answer before the end would be lost."""
    parser: Any = multipart.PushMultipartParser(boundary, max_segment_count=_MAX_PARTS)
    refusal: ApiError | None = None
    async for chunk in request.stream():
        if not chunk or refusal is not None:
            continue
        try:
            await asyncio.to_thread(form.feed, parser, chunk)
        except multipart.MultipartError as error:
            refusal = _unreadable(error)
        except ApiError as error:
            refusal = error
    try:
        parser.close(check_complete=refusal is None)
    except multipart.MultipartError as error:
        refusal = _unreadable(error)
    return refusal


def _unreadable(why: object) -> ApiError:
    return ApiError(400, f"The multipart form could not be read: {why}.")


class _Form:
    def __init__(self, upload: Upload, out: Any, max_bytes: int) -> None:
        self._upload, self._out, self._max_bytes = upload, out, max_bytes
        self._name = ""
        self._value = bytearray()

    def feed(self, parser: Any, chunk: bytes) -> None:
        for event in parser.parse(chunk):
            if isinstance(event, multipart.MultipartSegment):
                self._begin(event)
            elif event is None:
                self._end()
            else:
                self._take(event)

    def _begin(self, segment: Any) -> None:
        self._name, self._value = segment.name, bytearray()
        if segment.name == "file":
            if self._upload.filename is not None:
                raise ApiError(400, "The form has more than one file.", param="file")
            self._upload.filename = segment.filename or "file"

    def _take(self, data: bytearray) -> None:
        if self._name == "file":
            self._upload.size_bytes += len(data)
            if self._upload.size_bytes > self._max_bytes:
                raise ApiError(413, f"The file is over {self._max_bytes:,} bytes.", param="file", code="file_too_large")
            self._out.write(data)
        else:
            self._value += data
            if len(self._value) > _MAX_FIELD_BYTES:
                raise ApiError(400, f"The field {self._name!r} is too long.", param=self._name)

    def _end(self) -> None:
        if self._name != "file":
            self._upload.fields[self._name] = self._value.decode("utf-8", "replace")
