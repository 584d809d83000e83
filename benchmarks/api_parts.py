"""The API in a process that samples its own stack at the kernel's tick of CPU time, and the parts that samples belong to.

A sample belongs to the part of the innermost frame that `PARTS` names. SQLAlchemy's asynchronous calls run in greenlets, whose
stack ends at SQLAlchemy; so what it does on behalf of authentication counts as the database's parts.
"""

from __future__ import annotations

import signal
from collections import Counter
from types import FrameType
from typing import Any

import msgspec
from litestar.types import ASGIApp

from service.app import create_app
from service.settings import Settings

PROFILE_PATH = "/benchmark/profile"
SAMPLE_SECONDS = 0.001
OTHER = "server (uvicorn, event loop)"
PARTS = {
    "/service/identity/": "authentication",
    "/service/limits/rates": "rate limit",
    "/service/http/rate_limits": "rate limit",
    "/service/http/sliding_windows": "rate limit",
    "/redis/": "rate limit",
    "/limits/": "rate limit",
    "/service/fair_": "rate limit and places",
    "/service/database/engine": "transaction",
    "/sqlalchemy/pool/": "transaction",
    "/sqlalchemy/ext/asyncio/": "transaction",
    "/sqlalchemy/util/": "transaction",
    "/sqlalchemy/sql/": "statement building",
    "/sqlalchemy/orm/": "ORM",
    "/sqlalchemy/event/": "transaction",
    "/sqlalchemy/engine/": "SQLAlchemy Core",
    "/sqlalchemy/dialects/": "driver",
    "/sqlalchemy/connectors/": "driver",
    "/asyncpg/": "driver",
    "/service/jobs/": "route, presentation",
    "/service/models/": "route, presentation",
    "/service/datasets/": "route, presentation",
    "/service/upstreams/": "route, presentation",
    "/service/http/middleware": "middleware",
    "/service/http/": "request and response of the service",
    "/structlog/": "middleware",
    "/prometheus_client/": "middleware",
    "/service/": "request and response of the service",
    "/litestar/": "litestar",
    "/uvicorn/": OTHER,
}


class _Samples:
    """Counts samples by part while it is installed."""

    def __init__(self) -> None:
        self._counted: Counter[str] = Counter()
        self._parts_by_file: dict[str, str | None] = {}

    def install(self) -> None:
        """Begin to sample the main thread of this process."""
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)

    def taken(self) -> dict[str, float]:
        """The shares of the samples since the last call."""
        counted, self._counted = self._counted, Counter()
        return {part: count / counted.total() for part, count in counted.items()}

    def _sample(self, number: int, frame: FrameType | None) -> None:
        while frame is not None:
            file = frame.f_code.co_filename
            if file not in self._parts_by_file:
                self._parts_by_file[file] = next((part for place, part in PARTS.items() if place in file), None)
            if (part := self._parts_by_file[file]) is not None:
                self._counted[part] += 1
                return
            frame = frame.f_back
        self._counted[OTHER] += 1


def profiled_api(settings: Settings) -> ASGIApp:
    """The API, whose shares since the last request for them are at `PROFILE_PATH`."""
    app = create_app(settings)
    samples = _Samples()

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            samples.install()
        if scope.get("path") != PROFILE_PATH:
            await app(scope, receive, send)
            return
        body = msgspec.json.encode(samples.taken())
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    return serve
