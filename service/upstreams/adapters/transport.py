"""HTTP transports for upstream accounts; for accounts that callers add, every address is checked when it is dialled.

A name can change between a check and its use, so the address rules are applied to the socket. A response is limited in
size and must not be compressed: a caller's upstream could otherwise exhaust the memory with a few bytes.
"""

from collections.abc import AsyncIterator

import httpcore2
import httpx2

from service.egress.addresses import ForbiddenHost, Reach
from service.egress.connections import Backend
from service.egress.dialler import Dialler
from service.egress.resolver import LookupFailed, LookupTimedOut, Resolver

MAX_RESPONSE_BYTES = 96 * 1024 * 1024
LIMITS = httpx2.Limits(max_connections=200, max_keepalive_connections=50)


class UpstreamTransport(httpx2.AsyncHTTPTransport):
    """A connection pool that ignores the environment's proxies."""

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
    """A pool that connects only to addresses that `reach` allows, and refuses compressed or oversized responses.

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
            if read > MAX_RESPONSE_BYTES:
                raise httpx2.ReadError(f"The response has more than {MAX_RESPONSE_BYTES:,} bytes.")
            yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()
