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
HEARTBEAT_SECONDS = 20.0
"""Workers report every five seconds. Without a report for this time, no worker counts as running."""

LATE_SECONDS = 60.0
"""Due work that is unclaimed for this time means that there are too few workers, or none."""


class Alive(msgspec.Struct, frozen=True):
    """The process responds."""

    status: Literal["ok"] = "ok"


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """The state of each dependency: `ok`, or what is wrong.

    `unavailable` (503): requests cannot be served. `degraded` (200): requests are served, and their work starts late,
    since Redis is unavailable or no worker runs. `oldest_due_seconds` is how long the oldest unclaimed work has been
    due, and `reconciler_seconds` the time since a worker's last heartbeat; null: there is none, or it is unknown.
    """

    status: Literal["ok", "degraded", "unavailable"]
    database: str
    schema: str
    storage: str
    redis: str
    reconciler: str
    reconciler_seconds: float | None
    oldest_due_seconds: float | None


@get("/livez", summary="Check that the process runs", opt=operation(returns=Alive))
async def livez() -> Alive:
    """Responds even if every dependency is broken."""
    return Alive()


@get("/readyz", summary="Check that requests can be served", opt=operation(returns=Readiness))
async def readyz(request: ApiRequest) -> Response[Readiness]:
    """Database, schema and storage decide the status code; Redis and the workers are reported only."""
    db = resource(request, Database)
    database, storage, redis = await asyncio.gather(_database(db), resource(request, Storage).ping(), db.wakeups.ping())
    ready = database.error is None and database.schema_problem is None and storage
    reconciler = _reconciler(database)
    overdue = (database.oldest_due_seconds or 0.0) > LATE_SECONDS
    no_redis = not db.wakeups.configured
    healthy = (redis or no_redis) and reconciler == "ok" and not overdue
    return Response(
        Readiness(
            status="unavailable" if not ready else "ok" if healthy else "degraded",
            database="ok" if database.error is None else f"unavailable: {database.error}",
            schema="unknown" if database.error is not None else database.schema_problem or "ok",
            storage="ok" if storage else "unavailable",
            redis="not configured" if no_redis else "ok" if redis else "unavailable",
            reconciler=reconciler,
            reconciler_seconds=database.reconciler_seconds,
            oldest_due_seconds=database.oldest_due_seconds,
        ),
        status_code=200 if ready else 503,
    )


@get("/metrics", summary="Prometheus metrics", opt=operation(media="text/plain"))
async def metrics(request: ApiRequest) -> Response[bytes]:
    """Metrics in Prometheus' exposition format."""
    await measure(resource(request, Database))
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@get("/openapi.yaml", summary="This API's description", opt=operation(media="application/yaml"))
async def openapi_yaml(request: ApiRequest) -> Response[str]:
    """The same document as `openapi.yaml` in the repository."""
    return Response(_cached_page(request, to_yaml), media_type="application/yaml")


@get("/docs", summary="This API as a page", opt=operation(media="text/html"))
async def docs(request: ApiRequest) -> Response[str]:
    """One HTML page that loads nothing else."""
    return Response(_cached_page(request, docs_page), media_type="text/html")


def _cached_page(request: ApiRequest, render: Callable[[dict[str, Any]], str]) -> str:
    pages: dict[str, str] = request.app.state.setdefault("pages", {})  # rendering takes almost a second
    if render.__name__ not in pages:
        pages[render.__name__] = render(document(request.app))
    return pages[render.__name__]


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatabaseState:
    """What the database reports, or the error of asking it."""

    error: str | None = None
    schema_problem: str | None = None
    reconciler_seconds: float | None = None
    oldest_due_seconds: float | None = None


async def _database(db: Database) -> _DatabaseState:
    try:
        async with asyncio.timeout(READY_SECONDS), db.worker() as session:
            problem = await schema_problem(session)
            if problem is not None:
                return _DatabaseState(schema_problem=problem)
            beat_at, oldest, now = (await session.execute(_heartbeat_and_oldest_due())).one()
    except Exception as error:
        return _DatabaseState(error=type(error).__name__)
    return _DatabaseState(reconciler_seconds=_age(beat_at, now), oldest_due_seconds=_age(oldest, now))


def _heartbeat_and_oldest_due() -> Select[dt.datetime | None, dt.datetime | None, dt.datetime]:
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


def _reconciler(state: _DatabaseState) -> str:
    if state.error is not None or state.schema_problem is not None:
        return "unknown"
    if state.reconciler_seconds is None:
        return "no worker has reported"
    return "ok" if state.reconciler_seconds < HEARTBEAT_SECONDS else f"silent for {state.reconciler_seconds:.0f} s"


ROUTES = [livez, readyz, metrics, openapi_yaml, docs]
