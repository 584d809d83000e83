"""`/livez`, `/readyz`, `/metrics`, `/openapi.yaml` and `/docs`: outside `/v1`, without a key."""

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from litestar import Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import Select, func, select, union_all

from service.database import leased_work, leases
from service.database.engine import Database
from service.database.migrations import schema_problem
from service.database.tables import WorkerHeartbeat
from service.http.docs import docs_page
from service.http.openapi import document, to_yaml
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.storage import Storage
from service.upstreams.metrics import measure

READY_SECONDS = 2.0
SILENT_SECONDS = 20.0
"""Workers report every five seconds; after this long none of them works."""

LATE_SECONDS = 60.0
"""Due work that nobody has taken on for so long means that there are too few workers, or none."""


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """What the service needs, each `ok` or what is wrong.

    `unavailable` (503): requests cannot be served. `degraded` (200): they are, and their work starts late, since Redis
    is away or no worker works. `oldest_due_seconds` is how long the oldest work that nobody has taken on is due, and
    `reconciler_seconds` how long ago a worker's reconciler was last heard of; null: there is none, or it is unknown.
    """

    status: Literal["ok", "degraded", "unavailable"]
    database: str
    schema: str
    storage: str
    redis: str
    reconciler: str
    reconciler_seconds: float | None
    oldest_due_seconds: float | None


@get("/livez", summary="Whether the process lives", opt=operation(returns=Alive))
async def livez() -> Alive:
    """Answers whatever else is broken."""
    return Alive()


@get("/readyz", summary="Whether requests can be served", opt=operation(returns=Readiness))
async def readyz(request: ApiRequest) -> Response[Readiness]:
    """Database, schema and storage decide; Redis and the workers are only told."""
    db = resource(request, Database)
    database, storage, redis = await asyncio.gather(_database(db), resource(request, Storage).ping(), db.wakeups.ping())
    ready = database.error is None and database.schema is None and storage
    reconciler = _reconciler(database)
    late = (database.oldest_due_seconds or 0.0) > LATE_SECONDS
    without = not db.wakeups.configured
    well = (redis or without) and reconciler == "ok" and not late
    return Response(
        Readiness(
            status="unavailable" if not ready else "ok" if well else "degraded",
            database="ok" if database.error is None else f"unavailable: {database.error}",
            schema="unknown" if database.error is not None else database.schema or "ok",
            storage="ok" if storage else "unavailable",
            redis="not configured" if without else "ok" if redis else "unavailable",
            reconciler=reconciler,
            reconciler_seconds=database.reconciler_seconds,
            oldest_due_seconds=database.oldest_due_seconds,
        ),
        status_code=200 if ready else 503,
    )


@get("/metrics", summary="Prometheus metrics", opt=operation(media="text/plain"))
async def metrics(request: ApiRequest) -> Response[bytes]:
    """The exposition format of Prometheus."""
    await measure(resource(request, Database))
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@get("/openapi.yaml", summary="This API's description", opt=operation(media="application/yaml"))
async def openapi_yaml(request: ApiRequest) -> Response[str]:
    """The same document as `openapi.yaml` in the repository."""
    return Response(_once(request, to_yaml), media_type="application/yaml")


@get("/docs", summary="This API for people", opt=operation(media="text/html"))
async def docs(request: ApiRequest) -> Response[str]:
    """One page that loads nothing from anywhere."""
    return Response(_once(request, docs_page), media_type="text/html")


def _once(request: ApiRequest, write: Callable[[dict[str, Any]], str]) -> str:
    pages: dict[str, str] = request.app.state.setdefault("pages", {})  # writing takes a good part of a second
    if write.__name__ not in pages:
        pages[write.__name__] = write(document(request.app))
    return pages[write.__name__]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the database says, or why it does not."""

    error: str | None = None
    schema: str | None = None
    reconciler_seconds: float | None = None
    oldest_due_seconds: float | None = None


async def _database(db: Database) -> _Found:
    try:
        async with asyncio.timeout(READY_SECONDS), db.worker() as session:
            fault = await schema_problem(session)
            if fault is not None:
                return _Found(schema=fault)
            beat_at, oldest, now = (await session.execute(_signs_of_life())).one()
    except Exception as error:
        return _Found(error=type(error).__name__)
    return _Found(reconciler_seconds=_age(beat_at, now), oldest_due_seconds=_age(oldest, now))


def _signs_of_life() -> Select[dt.datetime | None, dt.datetime | None, dt.datetime]:
    due = union_all(
        *(
            select(func.min(table.due_at).label("due_at")).where(leases.due(table))
            for table in [work.table for work in leased_work.ALL]
        )
    ).subquery()
    beat_at = select(func.max(WorkerHeartbeat.beat_at)).scalar_subquery()
    return select(beat_at, select(func.min(due.c.due_at)).scalar_subquery(), func.now())


def _age(moment: dt.datetime | None, now: dt.datetime) -> float | None:
    return None if moment is None else round((now - moment).total_seconds(), 1)


def _reconciler(found: _Found) -> str:
    if found.error is not None or found.schema is not None:
        return "unknown"
    if found.reconciler_seconds is None:
        return "no worker has reported"
    return "ok" if found.reconciler_seconds < SILENT_SECONDS else f"silent for {found.reconciler_seconds:.0f} s"


ROUTES = [livez, readyz, metrics, openapi_yaml, docs]
