"""HTTP transports for upstream accounts; for accounts that callers add, every address is checked when it is dialled.

A name can change between a check and its use, so the address rules are applied to the socket. A response is limited in
size, depth and values, and must not be compressed: a caller's upstream could otherwise exhaust the memory with a few
bytes.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from functools import cache

import httpcore2
import httpx2

from service import json_limits
from service.egress.addresses import ForbiddenHost, Reach
from service.egress.connections import Backend, limited_head
from service.egress.dialler import Dialler
from service.egress.resolver import LookupFailed, LookupTimedOut, Resolver
from service.json_limits import JsonLimitExceeded
from service.off_loop import off_loop

MAX_CONTROL_BYTES = 4 * 1024 * 1024
"""The largest answer to anything but inference and the contents of files: a page of a hundred jobs has some 100 KB."""

MAX_CONTROL_VALUES = 100_000
"""A page of a hundred jobs has some 5,000 values, a list of all files of an Azure resource nine a file."""

FREE_PIECES = 1_000
MIN_PIECE_BYTES = 64
"""After the first thousand pieces (chunks of the transfer encoding) of a response, the least of their average size. A
streamed token takes some 200 bytes."""

YIELD_EVERY = 100
"""Pieces after which other tasks have their turn: they may all have arrived at once."""

STREAMED = {"tunegate_streamed": True}
"""The extension of a request whose answer its caller reads in pieces, and limits itself."""

LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=50)
"""More connections than calls can be in progress (`TUNEGATE_MAX_INFERENCE_CALLS`): projects share those, not these."""


@cache
def _tls() -> ssl.SSLContext:
    """The system's certificate authorities: one context for all accounts, since reading them takes 20 ms."""
    return httpx2.create_ssl_context(trust_env=False)


class UpstreamTransport(httpx2.AsyncHTTPTransport):
    """A connection pool that ignores the environment's proxies."""

    def __init__(self, backend: httpcore2.AsyncNetworkBackend | None = None) -> None:
        tls = _tls()
        super().__init__(verify=tls, trust_env=False, limits=LIMITS)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=LIMITS.max_connections,
            max_keepalive_connections=LIMITS.max_keepalive_connections,
            keepalive_expiry=LIMITS.keepalive_expiry,
            network_backend=backend or Backend(),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises `httpx2.HTTPError`, also for an answer that exceeds the limits."""
        streamed = request.extensions.get("tunegate_streamed")
        if not streamed:
            request.headers["accept-encoding"] = "identity"
        with limited_head():
            response = await super().handle_async_request(request)
        response.stream = _Pieces(response.stream)
        return response if streamed else await _control_response(response)


class CheckedTransport(UpstreamTransport):
    """A pool that connects only to addresses that `reach` allows, and refuses compressed responses.

    `owner` is the project of the account, whose look-ups these are, or `GATEWAY`.
    """

    def __init__(self, reach: Reach, resolver: Resolver, *, owner: str) -> None:
        super().__init__(Dialler(resolver, reach, owner=owner))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises `httpx2.HTTPError`: `ConnectError` when no address may be dialled."""
        request.headers["accept-encoding"] = "identity"
        try:
            response = await super().handle_async_request(request)
        except (LookupFailed, LookupTimedOut) as error:
            raise httpx2.ConnectError(f"{request.url.host}: {error}") from None
        except ForbiddenHost:
            raise httpx2.ConnectError(f"{request.url.host} has no address that may be dialled.") from None
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("The response is compressed, although the request did not allow it.")
        return response


class _Pieces(httpx2.AsyncByteStream):
    """A response's body, whose pieces are counted: each costs the event loop, however few bytes it has."""

    def __init__(self, stream: httpx2.AsyncByteStream | httpx2.SyncByteStream) -> None:
        if not isinstance(stream, httpx2.AsyncByteStream):
            raise TypeError("The transport's stream is not asynchronous.")
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = received = 0
        async for piece in self._stream:
            pieces, received = pieces + 1, received + len(piece)
            if pieces > FREE_PIECES + received / MIN_PIECE_BYTES:
                raise httpx2.ReadError(
                    f"The response arrives in pieces of under {MIN_PIECE_BYTES} bytes on average, after the first "
                    f"{FREE_PIECES:,}."
                )
            if pieces % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _control_response(response: httpx2.Response) -> httpx2.Response:
    """The response with its whole content, which the SDK will decode: so its limits are checked here."""
    content = bytearray()
    try:
        async for chunk in response.aiter_raw():
            if len(content) + len(chunk) > MAX_CONTROL_BYTES:
                raise httpx2.ReadError(f"The response has more than {MAX_CONTROL_BYTES:,} bytes.")
            content += chunk
        await off_loop(len(content), json_limits.check, content, max_values=MAX_CONTROL_VALUES)
    except JsonLimitExceeded as exceeded:
        raise httpx2.ReadError(f"The response is refused: {exceeded}.") from None
    finally:
        await response.aclose()
    return httpx2.Response(
        response.status_code,
        headers=response.headers,
        stream=httpx2.ByteStream(bytes(content)),
        extensions=response.extensions,
    )
