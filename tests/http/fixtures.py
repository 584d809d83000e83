"""The API alone, over a database of its own and without workers: for rules of HTTP. Each test has fresh projects."""

import asyncio
import base64
import dataclasses
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import uvicorn
from sqlalchemy.ext.asyncio import AsyncSession

from cli.embedded import OWNER, SERVICE
from service.app import create_app
from service.database.engine import Database, create_engine
from service.http.event_streams import EventStreams
from service.http.keyless_bodies import KeylessBodies
from service.http.protocol import limited_protocol
from service.services import Services
from service.settings import Settings
from service.wakeups import Wakeups
from tests.stack import Servers
from tests.wire import Tenant, make_tenant

MAX_STREAMS = 6
MAX_UPLOADS = 4
MAX_OPEN_UPLOADS = 5
MAX_DOWNLOADS = 3
MAX_UNFINISHED = 4
MAX_FILE_BYTES = 100_000
KEYLESS_SECONDS = 2.0


@dataclass(frozen=True)
class Api:
    """A running API with two projects."""

    storage: Path
    db: Database
    one: Tenant
    other: Tenant

    def http(self, tenant: Tenant | None = None) -> httpx2.AsyncClient:
        """A client of a project, by default of the first one."""
        who = tenant or self.one
        headers = {"authorization": f"Bearer {who.key}"}
        return httpx2.AsyncClient(base_url=who.base_url, headers=headers, timeout=90)

    @asynccontextmanager
    async def rows(self) -> AsyncIterator[AsyncSession]:
        """A transaction that sees the first project's rows."""
        async with self.db.project(self.one.project_id) as session:
            yield session

    def objects(self) -> list[str]:
        """The names of everything that lies in storage for the first project, unfinished writes included."""
        return [str(path) for path in (self.storage / self.one.project_id).rglob("*") if path.is_file()]


def quick_streams(settings: Settings) -> Services:
    """The API's services, with event streams that ask for events often and are seldom silent; and short times."""
    return dataclasses.replace(
        Services.open(settings),
        streams=EventStreams(max_streams=MAX_STREAMS, poll_seconds=0.02, keep_alive_seconds=2.0),
        keyless_bodies=KeylessBodies(seconds=KEYLESS_SECONDS),
    )


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The API on a port, as `tunegate serve` runs it; its base URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    app, protocol = create_app(settings, quick_streams), limited_protocol(settings)
    config = uvicorn.Config(
        app, http=protocol, ws="none", log_level="error", log_config=None, proxy_headers=False, server_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def gateway(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, str]]:
    """The API on a port, as `tunegate serve` runs it, with files of at most 100,000 bytes; and its base URL."""
    with servers.fresh_database() as name:
        settings = Settings(
            database_url=servers.postgres.url(SERVICE, name),
            owner_database_url=servers.postgres.url(OWNER, name),
            upstream_base_url="http://127.0.0.1:1/v1",
            upstream_api_key="none",
            master_key=base64.b64encode(secrets.token_bytes(32)).decode(),
            storage_url=f"file://{tmp_path_factory.mktemp('storage')}",
            max_file_bytes=MAX_FILE_BYTES,
            max_concurrent_uploads=MAX_UPLOADS,
            max_open_uploads=MAX_OPEN_UPLOADS,
            max_concurrent_downloads=MAX_DOWNLOADS,
            max_unfinished_work=MAX_UNFINISHED,
        )
        with serving(settings) as base_url:
            yield settings, base_url


@pytest.fixture
async def api(gateway: tuple[Settings, str]) -> AsyncIterator[Api]:
    """Two fresh projects at that API."""
    settings, base_url = gateway
    db = Database(create_engine(settings.database_url, pool_size=2), Wakeups(""))
    storage = settings.storage_path
    assert storage is not None
    try:
        one = await make_tenant(base_url, settings.database_url)
        yield Api(storage, db, one, await make_tenant(base_url, settings.database_url))
    finally:
        await db.close()
