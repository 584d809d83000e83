"""The run harness: the API on a port and a worker's context on the same database, with the scripted upstream."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec
import uvicorn
from sqlalchemy import func, select, update

from service.app import create_app
from service.database import leases
from service.database.tables import (
    Balance,
    File,
    FileReport,
    LedgerEntry,
    OpenInference,
    PendingUpload,
    Project,
    Run,
    RunCall,
    WebhookEvent,
)
from service.settings import Settings
from tests.runs.scripted import Scripted
from tests.wire import Tenant, make_tenant
from tests.workers.harness import Processes, open_context
from workers.context import Context
from workers.runs import advance

MODEL = "gpt-4o-mini"
MAX_STEPS = 60
PATIENCE_SECONDS = 90.0


@dataclass(frozen=True)
class RunHarness:
    """A project at that API."""

    ctx: Context
    tenant: Tenant
    upstream: Scripted

    @property
    def project_id(self) -> str:
        """The project."""
        return self.tenant.project_id

    def http(self, tenant: Tenant | None = None) -> httpx2.AsyncClient:
        """A client with the project's key."""
        who = tenant or self.tenant
        headers = {"authorization": f"Bearer {who.key}"}
        return httpx2.AsyncClient(base_url=who.base_url, headers=headers, timeout=90)

    async def generate(self, **body: Any) -> dict[str, Any]:
        """A generation as the API accepts it."""
        wanted = {"topics": ["rivers", "lakes"], "n_per_topic": 5, "model": MODEL, **body}
        async with self.http() as http:
            answer = await http.post("/dataset_generations", json=wanted)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def shown(self, run_id: str) -> dict[str, Any]:
        """The generation as the API shows it."""
        async with self.http() as http:
            answer = await http.get(f"/dataset_generations/{run_id}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    async def events(self, run_id: str) -> list[dict[str, Any]]:
        """Its events, in order."""
        async with self.http() as http:
            answer = await http.get(f"/dataset_generations/{run_id}/events", params={"limit": 100})
        events: list[dict[str, Any]] = answer.json()["data"]
        return events[::-1]

    async def claim(self, run_id: str) -> leases.Claim[Run] | None:
        """Claim it as if its time had come; None while another has it, or when it has ended."""
        async with self.ctx.db.worker() as session:
            await session.execute(
                update(Run).where(Run.id == run_id, Run.due_at.is_not(None)).values(due_at=func.now())
            )
            claimed = await leases.claim(
                session, Run, lease_seconds=self.ctx.settings.lease_seconds, where=[Run.id == run_id]
            )
        return claimed[0] if claimed else None

    async def step(self, run_id: str) -> dict[str, Any]:
        """One time slice, as a worker performs it."""
        claimed = await self.claim(run_id)
        if claimed is not None:
            await advance.advance(self.ctx, claimed)
        return await self.shown(run_id)

    async def until_end(self, run_id: str) -> dict[str, Any]:
        """Time slices until it has ended, whatever pauses it asks for in between."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (shown := await self.step(run_id))["finished_at"] is None:
            assert time.monotonic() < deadline, f"it does not end: {shown}"
            await asyncio.sleep(0.05)
        return shown

    async def until(self, run_id: str, *, done: int) -> None:
        """Wait until a worker has made so much of it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (await self.row(run_id)).done < done:
            assert time.monotonic() < deadline, await self.shown(run_id)
            await asyncio.sleep(0.02)

    async def row(self, run_id: str) -> Run:
        """The row now."""
        async with self.ctx.db.worker() as session:
            return await session.get_one(Run, run_id)

    async def end_lease(self, run_id: str) -> None:
        """Let the lease of a dead worker be over."""
        async with self.ctx.db.worker() as session:
            await session.execute(update(Run).where(Run.id == run_id).values(leased_until=None))

    async def limit(self, micros: int | None) -> None:
        """Set the project's spend limit."""
        async with self.ctx.db.admin() as session:
            await session.execute(
                update(Project).where(Project.id == self.project_id).values(spend_limit_micros=micros)
            )

    async def calls(self, run_id: str) -> Sequence[RunCall]:
        """The finished calls."""
        async with self.ctx.db.worker() as session:
            return (await session.scalars(select(RunCall).where(RunCall.run_id == run_id))).all()

    async def entries(self) -> Sequence[LedgerEntry]:
        """The project's ledger."""
        async with self.ctx.db.worker() as session:
            query = select(LedgerEntry).where(LedgerEntry.project_id == self.project_id).order_by(LedgerEntry.id)
            return (await session.scalars(query)).all()

    async def open_calls(self) -> list[str]:
        """The calls that have reserved and are not resolved."""
        async with self.ctx.db.worker() as session:
            query = select(OpenInference.call_key).where(OpenInference.project_id == self.project_id)
            return [key or "" for key in await session.scalars(query)]

    async def counts(self) -> dict[str, int]:
        """How many files were made, reports asked for, and objects announced."""
        async with self.ctx.db.worker() as session:
            return {
                name: await session.scalar(
                    select(func.count()).select_from(table).where(table.project_id == self.project_id)
                )
                or 0
                for name, table in (("files", File), ("reports", FileReport), ("announced", PendingUpload))
            }

    async def webhooks(self) -> list[str]:
        """The types of the events so far."""
        async with self.ctx.db.worker() as session:
            query = select(WebhookEvent.type).where(WebhookEvent.project_id == self.project_id)
            return list(await session.scalars(query.order_by(WebhookEvent.id)))

    async def examples(self, file_id: str) -> list[dict[str, Any]]:
        """The rows of a file."""
        async with self.http() as http:
            content = (await http.get(f"/files/{file_id}/content")).content
        return [msgspec.json.decode(line) for line in content.splitlines()]

    async def assert_books(self, run_id: str) -> int:
        """The run's cost is the sum of the ledger, to the micro-dollar, and nothing stays reserved. The cost."""
        row, entries = await self.row(run_id), await self.entries()
        spent = sum(entry.spent_micros + entry.overage_micros for entry in entries)
        assert row.cost_micros == spent
        assert await self.open_calls() == []
        reserved = [entry.subject for entry in entries if entry.kind == "reserve"]
        resolved = [entry.subject for entry in entries if entry.kind != "reserve"]
        assert sorted(reserved) == sorted(resolved)
        assert len(set(resolved)) == len(resolved)
        async with self.ctx.db.worker() as session:
            balances = (await session.scalars(select(Balance).where(Balance.project_id == self.project_id))).all()
        if balances:  # two where a month has ended meanwhile
            assert sum(balance.reserved_micros for balance in balances) == 0
            assert sum(balance.spent_micros + balance.overage_micros for balance in balances) == spent
        tokens = [(entry.input_tokens or 0, entry.output_tokens or 0) for entry in entries if entry.kind == "post"]
        assert (row.input_tokens, row.output_tokens) == tuple(map(sum, zip(*tokens, strict=True))) or not tokens
        return spent


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The API on a port, and its base URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="error", log_config=None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join()


@asynccontextmanager
async def open_run_harness(
    settings: Settings, base_url: str, upstream: Scripted, processes: Processes | None = None
) -> AsyncIterator[RunHarness]:
    """Opens a harness for a fresh project at that API, with processes of its own or those of several harnesses."""
    async with open_context(settings, processes) as ctx:
        yield RunHarness(ctx, await make_tenant(base_url, settings.database_url), upstream)
