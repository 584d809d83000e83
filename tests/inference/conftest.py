"""The API over a database of its own, before an upstream that answers completions; each test has a fresh project."""

import asyncio
import base64
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import uvicorn
from sqlalchemy import select, update

from cli.embedded import OWNER, SERVICE
from service.app import create_app
from service.database.engine import Database, create_engine
from service.database.tables import Balance, LedgerEntry, OpenInference, Project
from service.settings import Settings
from service.wakeups import Wakeups
from tests.inference.completions_upstream import Answering, answering
from tests.stack import Servers
from tests.wire import Tenant, make_tenant

MODEL = "gpt-4o-mini"


@dataclass(frozen=True)
class MeteringHarness:
    """A project at that API."""

    db: Database
    tenant: Tenant
    upstream: Answering
    settings: Settings

    @property
    def project_id(self) -> str:
        """The project."""
        return self.tenant.project_id

    def http(self) -> httpx2.AsyncClient:
        """A client with the project's key."""
        headers = {"authorization": f"Bearer {self.tenant.key}"}
        return httpx2.AsyncClient(base_url=self.tenant.base_url, headers=headers, timeout=90)

    async def ask(self, what: str, **more: Any) -> httpx2.Response:
        """One chat completion."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": what}], **more}
        async with self.http() as http:
            return await http.post("/chat/completions", json=body)

    async def limit(self, micros: int | None) -> None:
        """Set the project's limit."""
        async with self.db.admin() as session:
            await session.execute(
                update(Project).where(Project.id == self.project_id).values(spend_limit_micros=micros)
            )

    async def entries(self) -> Sequence[LedgerEntry]:
        """The project's entries, in their order."""
        async with self.db.project(self.project_id) as session:
            return (await session.scalars(select(LedgerEntry).order_by(LedgerEntry.id))).all()

    async def balance(self) -> tuple[int, int, int]:
        """Reserved, spent and over the limit, after checking that this is the sum of the entries."""
        async with self.db.project(self.project_id) as session:
            rows = (await session.scalars(select(Balance))).all()  # two where a month has ended meanwhile
        entries = await self.entries()
        found = (
            sum(row.reserved_micros for row in rows),
            sum(row.spent_micros for row in rows),
            sum(row.overage_micros for row in rows),
        )
        assert found == (
            sum(entry.reserved_micros * (1 if entry.kind == "reserve" else -1) for entry in entries),
            sum(entry.spent_micros for entry in entries),
            sum(entry.overage_micros for entry in entries),
        )
        return found

    async def open_calls(self) -> list[str]:
        """The calls that have reserved and are not resolved."""
        async with self.db.project(self.project_id) as session:
            return list(await session.scalars(select(OpenInference.subject)))


@pytest.fixture(scope="session")
def answers() -> Iterator[Answering]:
    """The upstream."""
    with answering() as running:
        yield running


@pytest.fixture(scope="session")
def counter(servers: Servers, answers: Answering) -> Iterator[tuple[Settings, str]]:
    """The API on a port, and its base URL."""
    with servers.fresh_database() as name:
        settings = Settings(
            database_url=servers.postgres.url(SERVICE, name),
            owner_database_url=servers.postgres.url(OWNER, name),
            upstream_base_url=answers.base_url,
            upstream_api_key="none",
            master_key=base64.b64encode(secrets.token_bytes(32)).decode(),
            inference_timeout_seconds=120.0,
        )
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="error", log_config=None))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        yield settings, f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        server.should_exit = True
        thread.join()


@pytest.fixture
async def harness(counter: tuple[Settings, str], answers: Answering) -> AsyncIterator[MeteringHarness]:
    """A fresh project."""
    settings, base_url = counter
    answers.reset()
    db = Database(create_engine(settings.database_url, pool_size=5), Wakeups(""))
    try:
        yield MeteringHarness(db, await make_tenant(base_url, settings.database_url), answers, settings)
    finally:
        await db.close()
