"""Sends one signed message to one URL and returns the outcome.

Every attempt opens a connection of its own: nothing is pooled, so no delivery waits for another. The address is checked
when it is dialled, because a name can change between a check and its use. Redirects are not followed, the environment's
proxies are not used, and only the start of the response body is read, undecoded, before the connection is closed.
"""

import asyncio
import datetime as dt
import os
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import aclosing, suppress
from functools import cached_property

import httpcore2

from service.egress.addresses import ForbiddenHost, Reach, Target
from service.egress.connections import limited_head
from service.egress.dialler import Dialler, allowed_addresses
from service.egress.resolver import GATEWAY, LookupFailed, LookupTimedOut, Resolver
from service.errors import InvalidRequest
from service.settings import Settings
from service.webhooks.outcomes import Delivered, Outcome, Rejected, Unreachable, UnreachableReason
from service.webhooks.schedule import parse_retry_after
from service.webhooks.targets import parse_webhook_url, refusal_of

MAX_RESPONSE_BYTES = 2048
"""How much of a response body is read and stored."""

BODY_SECONDS = 2.0
"""How long to wait for the start of a response body, which is only displayed."""

LOOKUP_SHARE = 0.9
"""The part of an attempt's time that the look-up of its name may take, so that the outcome names it as the cause."""

CHECK_SECONDS = 2.0
USER_AGENT = "Tunegate-Webhooks/1 (+https://www.standardwebhooks.com)"


class Sender:
    """Sends deliveries; one instance a process. `timeout_seconds` bounds a whole attempt, from look-up to reading,
    `check_seconds` the look-up of `check`, and `body_seconds` the wait for the start of a response body."""

    def __init__(
        self,
        *,
        reach: Reach,
        timeout_seconds: float,
        check_seconds: float = CHECK_SECONDS,
        body_seconds: float = BODY_SECONDS,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.reach = reach
        self.timeout_seconds = timeout_seconds
        self._check_seconds, self._body_seconds = check_seconds, body_seconds
        self._given_tls = tls
        self._resolver = resolver or Resolver()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made at the first attempt, since the certificates of all authorities take 1.5 MB and the API sends little."""
        return self._given_tls or httpcore2.default_ssl_context()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Sender":
        """A sender with the settings' limits."""
        reach = Reach.of(allow_private=settings.webhook_allow_private, development=settings.environment == "dev")
        return cls(reach=reach, timeout_seconds=settings.webhook_timeout_seconds)

    async def check(self, url: str, *, project_id: str = GATEWAY) -> None:
        """Check a URL when an endpoint is created or changed; `send` checks it again.

        Raises `InvalidRequest` as `parse_webhook_url` does, and for a name that has only forbidden addresses. A name
        that cannot be resolved now is accepted.
        """
        target = parse_webhook_url(url, self.reach)
        try:
            found = await self._resolver.addresses(target.host, owner=project_id, timeout_seconds=self._check_seconds)
            allowed_addresses(target.host, found, self.reach)
        except ForbiddenHost as error:
            raise refusal_of(error) from None
        except (LookupFailed, LookupTimedOut):
            return

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, *, project_id: str = GATEWAY) -> Outcome:
        """POST exactly `body` for a project.

        Failures of the receiver or the network become outcomes, not exceptions.
        """
        started = time.monotonic()
        try:
            return await self._post(parse_webhook_url(url, self.reach), headers, body, started, project_id)
        except InvalidRequest as refusal:
            return _unreachable("forbidden_target", refusal.message, started)
        except ForbiddenHost as error:
            return _unreachable("forbidden_target", refusal_of(error).message, started)
        except LookupFailed as error:
            return _unreachable("dns_failed", error, started)
        except LookupTimedOut as error:
            return _unreachable("timeout", error, started)
        except TimeoutError:
            return _unreachable("timeout", f"no response within {self.timeout_seconds:g} s", started)
        except httpcore2.ConnectError as error:
            return _unreachable("tls_failed" if _is_tls(error) else "connect_failed", error, started)
        except ssl.SSLError as error:
            return _unreachable("tls_failed", error, started)
        except httpcore2.ProtocolError as error:
            return _unreachable("protocol_error", error, started)
        except (httpcore2.NetworkError, OSError) as error:
            return _unreachable("connection_lost", error, started)

    async def _post(
        self, target: Target, headers: Mapping[str, str], body: bytes, started: float, project_id: str
    ) -> Outcome:
        deadline = asyncio.get_running_loop().time() + self.timeout_seconds
        url = httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        request = httpcore2.Request(
            method="POST", url=url, headers=_request_headers(target, headers, body), content=body
        )
        lookup_seconds = LOOKUP_SHARE * self.timeout_seconds
        async with _OneConnection(
            self._resolver, self.reach, owner=project_id, lookup_seconds=lookup_seconds
        ) as dialler:
            connection = httpcore2.AsyncHTTPConnection(
                origin=url.origin, ssl_context=self._tls, network_backend=dialler, http1=True, http2=False
            )
            async with asyncio.timeout_at(deadline):
                with limited_head():
                    response = await connection.handle_async_request(request)
            return _outcome(response, await _excerpt(response, deadline, self._body_seconds), started)


class _OneConnection(Dialler):
    """The dialler of one attempt, which closes the connection that it opened in every case.

    This is needed because httpcore2 leaves the socket open when it is cancelled during the TLS handshake.
    """

    _opened: httpcore2.AsyncNetworkStream | None = None

    async def __aenter__(self) -> "_OneConnection":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._opened is not None:
            await self._opened.aclose()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect, and store the connection to close."""
        self._opened = await super().connect_tcp(host, port, timeout, local_address, socket_options)
        return self._opened


def _request_headers(target: Target, headers: Mapping[str, str], body: bytes) -> list[tuple[bytes, bytes]]:
    fields = {
        "host": target.authority,
        "user-agent": USER_AGENT,
        "content-type": "application/json",
        "content-length": str(len(body)),
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
        **headers,
    }
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in fields.items()]


async def _excerpt(response: httpcore2.Response, deadline: float, body_seconds: float) -> bytes:
    """The start of the response body. A slow or truncated body changes nothing: the status has been received."""
    read = bytearray()
    latest = min(deadline, asyncio.get_running_loop().time() + body_seconds)
    with suppress(httpcore2.NetworkError, httpcore2.ProtocolError, OSError):
        async with asyncio.timeout_at(latest), aclosing(response.aiter_stream()) as chunks:
            async for chunk in chunks:
                read += chunk
                if len(read) >= MAX_RESPONSE_BYTES:
                    break
    return bytes(read[:MAX_RESPONSE_BYTES])


def _outcome(response: httpcore2.Response, excerpt: bytes, started: float) -> Outcome:
    latency_ms = _milliseconds_since(started)
    text = excerpt.decode("utf-8", "replace")
    if 200 <= response.status < 300:
        return Delivered(status_code=response.status, latency_ms=latency_ms, response=text)
    retry_after = next((value for name, value in response.headers if name.lower() == b"retry-after"), b"")
    return Rejected(
        status_code=response.status,
        latency_ms=latency_ms,
        response=text,
        retry_after_seconds=parse_retry_after(retry_after.decode("latin-1"), now=dt.datetime.now(dt.UTC)),
    )


def _unreachable(reason: UnreachableReason, cause: Exception | str, started: float) -> Unreachable:
    while isinstance(cause, Exception) and isinstance(cause.__cause__, Exception):
        cause = cause.__cause__
    match cause:
        case OSError(errno=int(number)) if not isinstance(cause, ssl.SSLError):
            detail = os.strerror(number)
        case _:
            detail = str(cause) or type(cause).__name__
    return Unreachable(reason=reason, detail=detail, latency_ms=_milliseconds_since(started))


def _is_tls(error: BaseException) -> bool:
    return isinstance(error.__cause__, ssl.SSLError)


def _milliseconds_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
