"""The network backend below httpcore2 for connections to upstreams and to receivers of webhooks."""

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore2

MAX_HEAD_BYTES = 128 * 1024
"""The bytes until the head of a response is complete, interim responses included. A first read of 64 KiB may have a
part of the body too. httpcore2 itself bounds one head, and accepts any number of interim responses before it."""

_head_bytes_left: ContextVar[list[int] | None] = ContextVar("head_bytes_left", default=None)
"""The bytes that may still be read before the head of a response is complete; None outside of `limited_head`."""


@contextmanager
def limited_head() -> Iterator[None]:
    """Bound the bytes that connections of this module read in the block, which ends when the head is complete.

    A read beyond `MAX_HEAD_BYTES` raises `httpcore2.RemoteProtocolError`. Without the bound a server could send interim
    responses without end, and parsing them would occupy the event loop.
    """
    token = _head_bytes_left.set([MAX_HEAD_BYTES])
    try:
        yield
    finally:
        _head_bytes_left.reset(token)


class Backend(httpcore2.AnyIOBackend):
    """httpcore2's own backend, except that a connection that is reset while it opens counts as never opened.

    On uvloop such a connection no longer has a socket, and every request for its attributes raises an `AttributeError`
    that no caller expects. Reading the socket once, right after connecting, finds such connections early; a connection
    that passed keeps its socket and later reports that it has ended.
    """

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Open a connection within `timeout` seconds. Raises `httpcore2.ConnectError` and `ConnectTimeout`."""
        stream = await super().connect_tcp(host, port, timeout, local_address, socket_options)
        try:
            stream.get_extra_info("socket")
        except AttributeError:
            await stream.aclose()
            raise httpcore2.ConnectError("The connection was reset while it opened.") from None
        return _CountedStream(stream)


class _CountedStream(httpcore2.AsyncNetworkStream):
    """A connection that counts what is read within `limited_head`."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = await self._stream.read(max_bytes, timeout)
        left = _head_bytes_left.get()
        if left is not None:
            left[0] -= len(data)
            if left[0] < 0:
                raise httpcore2.RemoteProtocolError(f"The response has no complete head in {MAX_HEAD_BYTES:,} bytes.")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return _CountedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
