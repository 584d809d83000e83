"""The outermost middleware: gives every request an id, a log line, metrics, and an error body even after a crash."""

import time
from contextlib import ExitStack
from typing import Any, cast

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPResponseBodyEvent, HTTPScope, Message, Receive, Scope, Send
from prometheus_client import Counter, Histogram

from service.errors import Internal
from service.http.azure_urls import rewrite
from service.http.body_pace import PacedBody
from service.http.client_address import client_address, is_tls, resolve
from service.http.errors import error_response
from service.http.request_memory import ON_END
from service.ids import new_id
from service.settings import TrustedProxies

log = structlog.get_logger()

REQUESTS = Counter(
    "tunegate_http_requests_total", "Requests by method, route and status.", ["method", "route", "status"]
)
SECONDS = Histogram(
    "tunegate_http_request_seconds",
    "Seconds to the first byte of the response.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
)

REQUEST_ID_HEADER = b"x-request-id"
RESPONSE_HEADERS = "tunegate_response_headers"
"""The key in the scope of headers that every response to the request gets, errors included: pairs of bytes."""

NO_SNIFF = (b"x-content-type-options", b"nosniff")
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")

SENT_BYTES = 64 * 1024
"""The bytes of a response that are passed to the server at a time."""

MAX_LOGGED_PATH = 512
_METHODS = ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH")
_QUIET = ("/livez", "/readyz")


class RequestMiddleware:
    """ASGI middleware that gives every HTTP request an id, logs it and counts it in the metrics.

    It also resolves the client's address behind the trusted proxies, rewrites the URLs of Azure's clients, ends a body
    that pauses for `body_idle_seconds` or comes too slowly, and releases at the end what the request has occupied.
    """

    def __init__(self, app: ASGIApp, trusted_proxies: TrustedProxies, *, body_idle_seconds: float) -> None:
        self._app = app
        self._trusted_proxies = trusted_proxies
        self._body_idle_seconds = body_idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; everything but HTTP requests is passed through."""
        if scope["type"] == ScopeType.HTTP:
            await self._serve(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = new_id("req_")
        resolve(scope, self._trusted_proxies)
        rewrite(scope)
        status = 0
        first_byte_seconds = 0.0
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)

        async def send_with_id(message: Message) -> None:
            nonlocal status, first_byte_seconds
            if message["type"] == "http.response.start":
                status = message["status"]
                first_byte_seconds = time.perf_counter() - started
                added: list[tuple[bytes, bytes]] = cast("dict[str, Any]", scope).get(RESPONSE_HEADERS, [])
                message["headers"] = [
                    *message["headers"],
                    *added,
                    *security_headers(scope),
                    (REQUEST_ID_HEADER, request_id.encode()),
                ]
            if message["type"] == "http.response.body":
                await _send_body(message, send)
            else:
                await send(message)

        on_end = ExitStack()
        cast("dict[str, Any]", scope)[ON_END] = on_end
        try:
            with on_end:
                await self._app(scope, PacedBody(receive, idle_seconds=self._body_idle_seconds), send_with_id)
        except Exception as error:
            log.error("request.crashed", error=repr(error), exc_info=error)
            if status == 0:
                response = error_response(
                    Internal("Something went wrong on our side. Quote x-request-id when you report it.")
                )
                await response.to_asgi_response(app=None, request=None)(scope, receive, send_with_id)  # type: ignore[arg-type]
        finally:
            method, route = _labels(scope)
            REQUESTS.labels(method, route, str(status)).inc()
            SECONDS.labels(method, route).observe(first_byte_seconds)
            if scope["path"] not in _QUIET:
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"][:MAX_LOGGED_PATH],
                    client=client_address(scope),
                    status=status,
                    ms=round((time.perf_counter() - started) * 1000, 1),
                )


async def _send_body(message: HTTPResponseBodyEvent, send: Send) -> None:
    """Send a body in pieces. The server waits before a piece until the client has accepted enough of those before, so a
    request lasts, and occupies its places and its memory, until nearly all of its response is accepted."""
    body = message.get("body", b"")
    if len(body) > SENT_BYTES:
        for start in range(0, len(body), SENT_BYTES):
            piece = body[start : start + SENT_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        body = b""
    await send({"type": "http.response.body", "body": body, "more_body": message.get("more_body", False)})


def security_headers(scope: HTTPScope) -> list[tuple[bytes, bytes]]:
    """What every response tells browsers: its type is as it says, and this host is for TLS if the request used it."""
    return [NO_SNIFF, STRICT_TRANSPORT] if is_tls(scope) else [NO_SNIFF]


def _labels(scope: HTTPScope) -> tuple[str, str]:
    """Method and route as metric labels: both from closed sets, so that callers cannot add labels."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    return method, scope.get("path_template") or "unmatched"
