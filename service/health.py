"""`/livez`, `/readyz`, `/openapi.yaml` and `/docs`: outside `/v1`, without a key. None has anything of a tenant."""

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from litestar import Response, get

from service.http.docs import CONTENT_SECURITY_POLICY, docs_page
from service.http.openapi import document, to_yaml
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.monitoring.readiness import Readiness, ReadinessCheck


class Alive(msgspec.Struct, frozen=True):
    """The process responds."""

    status: Literal["ok"] = "ok"


@get("/livez", summary="Check that the process runs", opt=operation(returns=Alive))
async def livez() -> Alive:
    """Responds even if every dependency is broken."""
    return Alive()


@get("/readyz", summary="Check that requests can be served", opt=operation(returns=Readiness))
async def readyz(request: ApiRequest) -> Response[Readiness]:
    """Database, schema, master key and storage decide the status code; Redis and the workers are reported only."""
    readiness = await resource(request, ReadinessCheck).readiness()
    return Response(readiness, status_code=503 if readiness.status == "unavailable" else 200)


@get("/openapi.yaml", summary="This API's description", opt=operation(media="application/yaml"))
async def openapi_yaml(request: ApiRequest) -> Response[str]:
    """The same document as `openapi.yaml` in the repository."""
    return Response(await _cached_page(request, to_yaml), media_type="application/yaml")


@get("/docs", summary="This API as a page", opt=operation(media="text/html"))
async def docs(request: ApiRequest) -> Response[str]:
    """One HTML page that loads nothing else."""
    headers = {"content-security-policy": CONTENT_SECURITY_POLICY}
    return Response(await _cached_page(request, docs_page), media_type="text/html", headers=headers)


async def _cached_page(request: ApiRequest, render: Callable[[dict[str, Any]], str]) -> str:
    """The page, rendered once: that takes almost a second, so it is done in a thread, for all who ask meanwhile."""
    pages: dict[str, asyncio.Task[str]] = request.app.state.setdefault("pages", {})
    if render.__name__ not in pages:
        pages[render.__name__] = asyncio.create_task(asyncio.to_thread(lambda: render(document(request.app))))
    return await asyncio.shield(pages[render.__name__])


ROUTES = [livez, readyz, openapi_yaml, docs]
