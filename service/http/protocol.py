"""The server's HTTP/1.1: uvicorn's protocol, with bounds on everything that arrives before a key can be checked.

uvicorn stores the headers of a request as they arrive, without a limit of their bytes, number or time. Here bytes are
counted before the parser gets them. Only bytes of framing count (the first line, headers, trailers, extensions of
chunks), for bodies have limits of their own: each byte of a body begins the count anew.
"""

import asyncio
from typing import Any, ClassVar

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.errors import ApiError, HeaderTooLarge, InvalidRequest, RequestTimeout
from service.http.errors import error_body
from service.http.open_heads import OpenHeads
from service.ids import new_id
from service.settings import Settings

log = structlog.get_logger()

MAX_PIPELINED = 16
"""Requests that a connection may send before their answers. HTTP clients in use send one."""

SEND_SECONDS = 120.0
"""How long a client may accept nothing of its response before its connection ends."""

MIN_SENT_PER_SECOND = 512
"""The bytes that a client accepts in a second, on average over `SEND_SECONDS`, while more of its response waits."""

LINGER_SECONDS = 1.0
"""How long what a refused client still sends is read and dropped: to close at once would destroy the refusal on its
way (RFC 9112, section 9.6)."""


def limited_protocol(settings: Settings) -> type["LimitedProtocol"]:
    """The protocol class with the bounds of the settings; its connections share one limit of their number."""

    class Limited(LimitedProtocol):
        max_bytes = settings.max_header_bytes
        max_headers = settings.max_headers
        open_heads = OpenHeads(max_open=settings.max_connections_without_request, seconds=settings.header_seconds)

    return Limited


class _Refused(Exception):
    """Raised in a callback, to stop the parser."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    max_bytes: ClassVar[int]
    max_headers: ClassVar[int]
    open_heads: ClassVar[OpenHeads]
    send_seconds: ClassVar[float] = SEND_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._framing_bytes = 0
        self._headers_read = 0
        self._in_head = True
        self._refusal: ApiError | None = None
        self._refused = False
        self._send_timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self.open_heads.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.open_heads.discard(self)
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse in pieces that are no larger than what the head may still have."""
        while data and not self._refused and not self.transport.is_closing():
            piece = data[: self.max_bytes - self._framing_bytes]
            data = data[len(piece) :]
            self._framing_bytes += len(piece)
            super().data_received(piece)
            if self._framing_bytes >= self.max_bytes and not self._refused:
                self._refuse(self._too_large())

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        self._headers_read = 0
        self._in_head = True
        self.open_heads.add(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header. One behind the body (a trailer) is dropped: it must not change a request that has begun."""
        self._headers_read += 1
        if self._headers_read > self.max_headers:
            self._refusal = self._too_large()
            raise _Refused
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the request."""
        self._framing_bytes = 0
        self._in_head = False
        self.open_heads.discard(self)
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refusal = InvalidRequest(
                f"More than {MAX_PIPELINED} requests were sent before their answers. Wait for the answers."
            )
            raise _Refused
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Bytes of a body are no framing."""
        self._framing_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The next byte belongs to the next request."""
        self._framing_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is already being answered."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self.open_heads.add(self)

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser does not accept, or what a callback has refused."""
        self._refuse(
            self._refusal
            or InvalidRequest("The bytes are no valid HTTP/1.1 request. Check the client.", code="invalid_request")
        )

    def head_expired(self) -> None:
        """Refuse a request that has begun; otherwise close without a word, as any server ends an idle connection."""
        if self.transport.get_write_buffer_size():  # to close would wait for a client that does not read
            self.transport.abort()
        elif self._in_head and self._framing_bytes:
            self._refuse(RequestTimeout("The headers of the request did not arrive in time. Send it again."))
        else:
            self.transport.close()

    def displaced(self) -> None:
        """Close at once."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """The client accepts nothing more for now: give it a deadline, and another when it has accepted some."""
        super().pause_writing()
        if self._send_timer is None:
            self._expect_progress()

    def resume_writing(self) -> None:
        """The client accepts again."""
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None
        super().resume_writing()

    def _expect_progress(self) -> None:
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._send_timer = self.loop.call_later(self.send_seconds, self._check_progress)

    def _check_progress(self) -> None:
        accepted = self._unsent_bytes - self.transport.get_write_buffer_size()
        if accepted >= min(self._unsent_bytes, MIN_SENT_PER_SECOND * self.send_seconds):
            self._expect_progress()
        else:
            self.transport.abort()

    def _too_large(self) -> HeaderTooLarge:
        return HeaderTooLarge(
            f"The URL and headers of a request may have {self.max_bytes:,} bytes together, and {self.max_headers} "
            "headers (TUNEGATE_MAX_HEADER_BYTES, TUNEGATE_MAX_HEADERS). Send fewer or shorter ones."
        )

    def _refuse(self, error: ApiError) -> None:
        """Answer with `error` where the connection is free to, and close it."""
        self._refused = True
        self.open_heads.discard(self)
        self._unset_keepalive_if_required()
        answering = self.cycle is not None and not self.cycle.response_complete
        log.info("connection.refused", status=error.status, code=error.code)
        if self.pipeline or (answering and self.cycle.response_started) or not self.transport.can_write_eof():
            self.transport.close()
            return
        if answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = error_body(error)
        self.transport.write(
            b"%scontent-type: application/json\r\ncontent-length: %d\r\nx-request-id: %s\r\n"
            b"x-content-type-options: nosniff\r\nconnection: close\r\n\r\n%s"
            % (STATUS_LINE[error.status], len(body), new_id("req_").encode(), body)
        )
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)
