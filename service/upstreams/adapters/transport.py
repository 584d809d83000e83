"""Connections to upstream accounts, and to those that callers describe: each address is checked where it is dialled.

A name can change between a check and its use, so the rules of webhooks' targets hold at the socket. An answer has a
limit, and must come as it is: a caller's upstream could otherwise fill our memory with a few bytes.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import suppress

import httpcore2
import httpx2

from service.egress import addresses
from service.egress.addresses import Reach
from service.egress.connections import Backend
from service.egress.resolver import LookupFailed, Resolver

CONNECT_SECONDS = 5.0
MAX_ADDRESSES = 4
MAX_ANSWER_BYTES = 96 * 1024 * 1024
LIMITS = httpx2.Limits(max_connections=200, max_keepalive_connections=50)


class UpstreamTransport(httpx2.AsyncHTTPTransport):
    """A connection pool, without proxies of the environment."""

    def __init__(self, backend: httpcore2.AsyncNetworkBackend | None = None) -> None:
        tls = httpx2.create_ssl_context(trust_env=False)
        super().__init__(verify=tls, trust_env=False, limits=LIMITS)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=LIMITS.max_connections,
            max_keepalive_connections=LIMITS.max_keepalive_connections,
            keepalive_expiry=LIMITS.keepalive_expiry,
            network_backend=backend or Backend(),
        )


class CheckedTransport(UpstreamTransport):
    """One that dials only where `reach` may go, and takes answers only as they are and up to a size."""

    def __init__(self, reach: Reach, resolver: Resolver | None = None) -> None:
        super().__init__(_Dialler(resolver or Resolver(), reach))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises `httpx2.HTTPError`; `ConnectError` when no address may be dialled."""
        request.headers["accept-encoding"] = "identity"
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("The answer is compressed, which was not asked for.")
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_Capped(response),
            extensions=response.extensions,
        )


class _Capped(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for chunk in self._response.aiter_raw():
            read += len(chunk)
            if read > MAX_ANSWER_BYTES:
                raise httpx2.ReadError(f"The answer has more than {MAX_ANSWER_BYTES:,} bytes.")
            yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()


class _Dialler(httpcore2.AsyncNetworkBackend):
    def __init__(self, resolver: Resolver, reach: Reach) -> None:
        self._resolver = resolver
        self._reach = reach
        self._backend = Backend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """httpcore2's hook: look the name up, and dial the first of its addresses that may be and answers."""
        try:
            found = await self._resolver.addresses(host)
        except LookupFailed as error:
            raise httpcore2.ConnectError(f"{host}: {error}") from None
        allowed = [each for each in found if addresses.forbidden(each, self._reach) is None]
        if not allowed:
            raise httpcore2.ConnectError(f"{host} leads to no address that may be dialled.")
        *first, last = allowed[:MAX_ADDRESSES]
        for address in first:
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await self._backend.connect_tcp(
                    str(address), port, timeout=CONNECT_SECONDS, socket_options=socket_options
                )
        return await self._backend.connect_tcp(str(last), port, timeout=timeout, socket_options=socket_options)

    async def sleep(self, seconds: float) -> None:
        """httpcore2's hook: between its own tries, of which it makes none here."""
        await self._backend.sleep(seconds)
