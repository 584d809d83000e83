"""Parses multipart bodies from the request's stream: the file goes straight to its store, never to memory or disk."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from litestar import Request
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from service.errors import InvalidRequest, TooLarge
from service.http import multipart_faults as faults
from service.http.content_encodings import check_encoding, check_part_encoding
from service.http.dispositions import Disposition, read_disposition

Stored = TypeVar("Stored")

MAX_FIELDS = 64
MAX_FIELD_BYTES = 64 * 1024
MAX_FORM_BYTES = 1024 * 1024
"""The bytes of a body beside those of its file: fields, headers of parts, and what is before or after all parts."""

MAX_BOUNDARY = 70
"""Characters of a boundary (RFC 2046, section 5.1.1)."""


@dataclass(slots=True)
class Form(Generic[Stored]):
    """The text fields in the order of the body, and what `store` returned for the file."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    file: Stored | None = None


async def read_form(
    request: Request[Any, Any, Any],
    *,
    file_field: str,
    max_file_bytes: int,
    store: Callable[[AsyncIterator[bytes]], Awaitable[Stored]],
    check_fields: Callable[[dict[str, str]], None],
) -> Form[Stored]:
    """Parse the body as it arrives, and pass the bytes of `file_field` to `store` chunk by chunk.

    `check_fields` gets the fields that precede the file and may refuse them, so that no caller sends 500 MB in vain.

    Raises `InvalidRequest` for a body that is not multipart, is cut short or has a text in place of the file,
    `UnsupportedMediaType` for one that is encoded, and `TooLarge` above `max_file_bytes` or `MAX_FORM_BYTES`; `store`
    gets the same exception, so that it can clean up.
    """
    check_encoding(request)
    boundary = faults.boundary_of(request.headers.get("content-type", ""), file_field)
    if len(boundary) > MAX_BOUNDARY:
        raise InvalidRequest(f"A boundary may have {MAX_BOUNDARY} characters.", code="invalid_content_type")
    segments = _Segments(request, boundary)
    form: Form[Stored] = Form()
    async for segment in segments:
        name, filename = _names(segment)
        check_part_encoding(segment, name)
        if name in form.fields:
            raise faults.given_twice(name)
        if name != file_field:
            form.fields[name] = await _text(name, segments.chunks(), file_field)
        elif form.file is not None:
            raise faults.second_file(file_field)
        else:
            check_fields(form.fields)
            if filename is None and segment.content_type in (None, "text/plain"):
                raise faults.text_for_file(file_field)
            form.filename = filename or faults.name_by_type(segment.content_type)
            form.file = await store(_limited(segments.file_chunks(), max_file_bytes, file_field))
    return form


def _names(segment: MultipartSegment) -> Disposition:
    name, filename = read_disposition(segment.header("Content-Disposition"))
    if not name:
        raise InvalidRequest(
            "A part of the multipart body has no name. Give each part the header "
            '`Content-Disposition: form-data; name="…"`, with the field\'s name.',
            code="invalid_multipart",
        )
    return Disposition(name, filename)


class _Segments:
    """A multipart stream: iterating yields its segments, and `chunks()` the bytes of the current one."""

    def __init__(self, request: Request[Any, Any, Any], boundary: str) -> None:
        self._stream = request.stream()
        self._boundary = boundary
        # Each byte of a header becomes one character, so that no name fails to decode: see `dispositions`.
        self._parser = PushMultipartParser(boundary.encode(), max_segment_count=MAX_FIELDS, header_charset="latin-1")
        self._parsed: list[Any] = []
        self._position = 0
        self._form_bytes = 0
        self._start = b""
        self._has_parts = False

    def __aiter__(self) -> AsyncIterator[MultipartSegment]:
        return self._segments()

    async def _segments(self) -> AsyncIterator[MultipartSegment]:
        while (event := await self._next()) is not _END:
            if isinstance(event, MultipartSegment):
                self._has_parts = True
                yield event

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the current segment."""
        while (event := await self._next()) is not None:
            yield bytes(event)

    async def file_chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the current segment, which do not count as the form's."""
        async for chunk in self.chunks():
            self._form_bytes -= len(chunk)
            yield chunk

    async def _next(self) -> Any:
        try:
            while self._position >= len(self._parsed):
                if self._form_bytes > MAX_FORM_BYTES:
                    raise TooLarge(
                        f"The multipart body has more than {MAX_FORM_BYTES:,} bytes beside its file. Send nothing but "
                        "the fields that /docs lists.",
                        code="request_too_large",
                    )
                data = await anext(self._stream, None)
                if data is None:
                    self._parser.close()  # type: ignore[no-untyped-call]
                    return _END
                if data:
                    self._form_bytes += len(data)
                    if len(self._start) < faults.SHOWN_BYTES:
                        self._start += data[: faults.SHOWN_BYTES]
                    self._parsed = list(self._parser.parse(data))
                    self._position = 0
        except ParserLimitReached as error:
            raise InvalidRequest(
                f"The multipart body may have {MAX_FIELDS} parts, with short headers: {error}.",
                code="invalid_multipart",
            ) from None
        except MultipartError as error:
            raise faults.malformed(
                error, boundary=self._boundary, start=self._start, has_parts=self._has_parts
            ) from None
        event = self._parsed[self._position]
        self._position += 1
        return event


_END = object()


async def _text(name: str, chunks: AsyncIterator[bytes], file_field: str) -> str:
    value = bytearray()
    async for chunk in chunks:
        value += chunk
        if len(value) > MAX_FIELD_BYTES:
            raise InvalidRequest(
                f"The field `{name}` may have {MAX_FIELD_BYTES:,} bytes. Send a shorter one; the file belongs in the "
                f"field `{file_field}`.",
                param=name,
            )
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"The field `{name}` is not UTF-8. Send UTF-8.", param=name) from None


async def _limited(chunks: AsyncIterator[bytes], max_file_bytes: int, file_field: str) -> AsyncIterator[bytes]:
    size_bytes = 0
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > max_file_bytes:
            raise TooLarge(
                f"'{file_field}' is larger than {max_file_bytes:,} bytes. Split it, or send it in parts: /v1/uploads.",
                param=file_field,
            )
        yield chunk
