"""The internal listener: `/metrics`, `/readyz` and `/livez` of a process, on a port of its own.

Metrics name upstream accounts and count what tenants do, and they are read without a key. So they are not on the public
port, and this one is bound to the loopback interface unless `TUNEGATE_METRICS_HOST` names a private one. API and worker
each have it, and serve it on the event loop that does their work: a loop that is stuck does not answer. Several API
processes share it as they share the public port: any of them answers, with the metrics of all (`shared_metrics`).
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, disable_created_metrics
from prometheus_client.metrics_core import Metric

from service.errors import SettingsError
from service.http.protocol import limited_protocol
from service.monitoring import shared_metrics
from service.monitoring.readiness import ReadinessCheck
from service.monitoring.shared_result import SharedResult
from service.settings import Settings

log = structlog.get_logger()

DEFAULT_PORT = 9464
"""The port that is assigned to Prometheus exporters of OpenTelemetry; a monitoring system finds it by its name."""

REUSED_SECONDS = 1.0
MAX_CONNECTIONS = 64
"""Connections beyond these get 503. A monitoring system opens one or two."""

JSON, TEXT = "application/json", "text/plain; charset=utf-8"
Answer = tuple[int, str, bytes]


class InternalListener:
    """Serves the state of one process. Its attributes are set as soon as the resources that they need are open.

    `ready` checks the dependencies, `measure` returns metrics that are read from the database, and `fault` says why the
    process should be restarted (None: it works). Raises `SettingsError` if a port that was set cannot be bound.
    """

    def __init__(self, settings: Settings) -> None:
        self._protocol = limited_protocol(settings)
        self._listening = listen(settings)
        self.host, self.port = self._listening.getsockname()[:2]
        self._scrape = SharedResult(self._generate, seconds=REUSED_SECONDS)
        self.ready: ReadinessCheck | None = None
        self.measure: Callable[[], Awaitable[Iterable[Metric]]] | None = None
        self.fault: Callable[[], str | None] = lambda: None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["InternalListener"]:
        """Serve during the block."""
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            http=self._protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[self._listening]))
        log.info("internal_listener.started", host=self.host, port=self.port)
        try:
            yield self
        finally:
            server.should_exit = True
            await asyncio.gather(serving, return_exceptions=True)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            status, media, body = 405, TEXT, b"Only GET is allowed here.\n"
        else:
            status, media, body = await self._answer(scope["path"])
        headers = [(b"content-type", media.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, path: str) -> Answer:
        match path:
            case "/livez":
                fault = self.fault()
                return (200 if fault is None else 503), JSON, msgspec.json.encode({"status": fault or "ok"})
            case "/readyz":
                if self.ready is None:
                    return 503, JSON, msgspec.json.encode({"status": "unavailable", "database": "starting"})
                readiness = await self.ready.readiness()
                return (503 if readiness.status == "unavailable" else 200), JSON, msgspec.json.encode(readiness)
            case "/metrics":
                return 200, CONTENT_TYPE_LATEST, await self._scrape.get()
            case _:
                return 404, TEXT, b"This is the internal listener: /metrics, /readyz and /livez.\n"

    async def _generate(self) -> bytes:
        return shared_metrics.text(() if self.measure is None else await self.measure())


class _Server(uvicorn.Server):
    """A server inside a process that handles signals itself."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process."""
        yield


def listen(settings: Settings) -> socket.socket:
    """The socket. Raises `SettingsError` if a port that was set cannot be bound.

    Without a port, and in the environment `dev`, where `tunegate dev` has set one for its own processes, a port that is
    taken is replaced by a free one.
    """
    host, port = settings.metrics_host, settings.metrics_port
    try:
        return _bound(host, port or DEFAULT_PORT)
    except (OSError, OverflowError) as error:
        if port and settings.environment != "dev":
            raise SettingsError(
                f"The internal listener cannot use TUNEGATE_METRICS_HOST {host} with TUNEGATE_METRICS_PORT {port}: "
                f"{error}. Set an address of this machine and a port that is free; each process on a machine needs "
                "a port of its own. Without TUNEGATE_METRICS_PORT a process takes a free one."
            ) from None
    try:
        return _bound(host, 0)
    except OSError as error:
        raise SettingsError(
            f"TUNEGATE_METRICS_HOST {host} is not an address of this machine ({error}). Set it to one, such as "
            "127.0.0.1, or 0.0.0.0 for every interface of a private network."
        ) from None


def _bound(host: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family)


disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, of no use to anybody
