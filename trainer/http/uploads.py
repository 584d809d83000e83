"""Reads a multipart upload piece by piece, so that memory does not grow with the file."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import multipart
from litestar import Request

from .errors import ApiError

_MAX_FIELD_BYTES = 4_096
_MAX_PARTS = 16


class Upload:
    """The form of `POST /v1/files` as far as it was read, without the file's bytes."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.size_bytes = 0


async def receive(
    request: Request[Any, Any, Any], upload: Upload, *, max_bytes: int, check: Callable[[Upload], None]
) -> AsyncIterator[bytes]:
    """Yield the file's bytes and fill `upload`, which `check` may refuse at the end.

    ApiError when the request is not a form, breaks off or is over `max_bytes`. After a refusal the rest is read and
    dropped, since an answer before the end would be lost.
    """
    kind, options = request.content_type
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise ApiError(400, "Send the file as multipart/form-data with the fields 'file' and 'purpose'.")
    parser: Any = multipart.PushMultipartParser(options["boundary"], max_segment_count=_MAX_PARTS)
    form = _Form(upload, max_bytes)
    refusal: ApiError | None = None
    async for chunk in request.stream():
        if not chunk or refusal is not None:
            continue
        try:
            content = await asyncio.to_thread(form.feed, parser, chunk)
        except multipart.MultipartError as error:
            refusal = _unreadable(error)
        except ApiError as error:
            refusal = error
        else:
            if content:
                yield content
    try:
        parser.close(check_complete=refusal is None)
    except multipart.MultipartError as error:
        refusal = _unreadable(error)
    if refusal is not None:
        raise refusal
    if upload.filename is None:
        raise ApiError(400, "The form has no file in the field 'file'.", param="file")
    check(upload)


def _unreadable(why: object) -> ApiError:
    return ApiError(400, f"The multipart form could not be read: {why}.")


class _Form:
    def __init__(self, upload: Upload, max_bytes: int) -> None:
        self._upload, self._max_bytes = upload, max_bytes
        self._content = bytearray()
        self._name = ""
        self._value = bytearray()

    def feed(self, parser: Any, chunk: bytes) -> bytes:
        """The bytes of the file in a chunk of the request."""
        for event in parser.parse(chunk):
            if isinstance(event, multipart.MultipartSegment):
                self._begin(event)
            elif event is None:
                self._end()
            else:
                self._take(event)
        content = bytes(self._content)
        self._content.clear()
        return content

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
            self._content += data
        else:
            self._value += data
            if len(self._value) > _MAX_FIELD_BYTES:
                raise ApiError(400, f"The field {self._name!r} is too long.", param=self._name)

    def _end(self) -> None:
        if self._name != "file":
            self._upload.fields[self._name] = self._value.decode("utf-8", "replace")
