"""The API over the harness's database, in this process, with a key of the project and an admin key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from service.app import create_litestar
from service.http.middleware import RequestMiddleware
from service.identity.bootstrap import create_key
from service.settings import TrustedProxies
from tests.workers.harness import WorkerHarness


@asynccontextmanager
async def served(harness: WorkerHarness, *, admin: bool = False) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with the project's key, or with an admin key."""
    settings = harness.ctx.settings
    key = await create_key(
        settings,
        kind="admin" if admin else "project",
        name="test",
        **({} if admin else {"project": harness.project_id}),
    )
    app = create_litestar(settings)
    async with (
        app.lifespan(),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=RequestMiddleware(app, TrustedProxies(), body_idle_seconds=60.0)),  # type: ignore[arg-type]  # Litestar types it closer
            base_url="http://tunegate/v1",
            headers={"authorization": f"Bearer {key}"},
        ) as client,
    ):
        yield client
