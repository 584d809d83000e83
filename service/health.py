"""`/livez`, `/readyz`, `/metrics`, `/openapi.yaml` and `/docs`: outside `/v1`, without a key."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from litestar import Response, get
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text

from service.http.docs import docs_page
from service.http.openapi import document, to_yaml
from service.http.operation import operation
from service.migrations import head
from service.services import ApiRequest, Services, services

READY_SECONDS = 2.0


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """What the service needs, each `ok` or what is wrong. Redis may be away: work only starts a little later."""

    status: Literal["ok", "unavailable"]
    database: str
    schema: str
    storage: str
    redis: str


@get("/livez", summary="Whether the process lives", opt=operation(returns=Alive))
async def livez() -> Alive:
    """Answers whatever else is broken."""
    return Alive()


@get("/readyz", summary="Whether requests can be served", opt=operation(returns=Readiness))
async def readyz(request: ApiRequest) -> Response[Readiness]:
    """Database, schema and storage decide; Redis is only told."""
    here = services(request)
    (database, schema), storage, redis = await asyncio.gather(
        _database(here), here.storage.ping(), here.db.doorbell.ping()
    )
    ready = database == "ok" and schema == "ok" and storage
    return Response(
        Readiness(
            status="ok" if ready else "unavailable",
            database=database,
            schema=schema,
            storage="ok" if storage else "unavailable",
            redis="ok" if redis else "unavailable",
        ),
        status_code=200 if ready else 503,
    )


@get("/metrics", summary="Prometheus metrics", opt=operation(media="text/plain"))
async def metrics() -> Response[bytes]:
    """The exposition format of Prometheus."""
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


async def _database(here: Services) -> tuple[str, str]:
    try:
        async with asyncio.timeout(READY_SECONDS), here.db.admin() as session:
            revision = await session.scalar(text("SELECT version_num FROM alembic_version"))
    except Exception as error:
        return f"unavailable: {type(error).__name__}", "unknown"
    return "ok", "ok" if str(revision) >= head() else f"at {revision}, needs {head()}: run `tunegate migrate`"


ROUTES = [livez, readyz, metrics, openapi_yaml, docs]
