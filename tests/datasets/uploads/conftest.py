"""The API alone, as in `tests/http`, with uploads of at most 200,000,000 bytes."""

import asyncio
import base64
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import uvicorn

from cli.embedded import OWNER, SERVICE
from service.app import create_app
from service.database.engine import Database, create_engine
from service.settings import Settings
from service.wakeups import Wakeups
from tests.http.fixtures import Api
from tests.stack import Servers
from tests.wire import make_tenant

MAX_UPLOAD_BYTES = 200_000_000


@dataclass(frozen=True)
class Gateway:
    """A running API and its settings."""

    settings: Settings
    base_url: str


@pytest.fixture(scope="session")
def gateway(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for all tests here."""
    with servers.fresh_database() as name:
        settings = Settings(
            database_url=servers.postgres.url(SERVICE, name),
            owner_database_url=servers.postgres.url(OWNER, name),
            upstream_base_url="http://127.0.0.1:1/v1",
            upstream_api_key="none",
            master_key=base64.b64encode(secrets.token_bytes(32)).decode(),
            storage_url=f"file://{tmp_path_factory.mktemp('storage')}",
            max_upload_bytes=MAX_UPLOAD_BYTES,
        )
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="error", log_config=None))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        yield Gateway(settings, f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
        server.should_exit = True
        thread.join()


@pytest.fixture
async def api(gateway: Gateway) -> AsyncIterator[Api]:
    """Two fresh projects at that API."""
    db = Database(create_engine(gateway.settings.database_url, pool_size=2), Wakeups(""))
    storage = gateway.settings.storage_path
    assert storage is not None
    try:
        one = await make_tenant(gateway.base_url, gateway.settings.database_url)
        yield Api(storage, db, one, await make_tenant(gateway.base_url, gateway.settings.database_url))
    finally:
        await db.close()
