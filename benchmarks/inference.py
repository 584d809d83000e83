"""`python -m benchmarks.inference [--seconds 8]`: calls a second through the gateway, metered against unmetered.

Runs one API process before an upstream that answers at once, and has one project, then eight, ask with so many callers
at a time. The same API with its meter taken out is measured in turns with it, because speeds drift; what counts is the
ratio, and the CPU time of the API's process a call, which a busy machine disturbs least. `naive` is the meter without what puts bookings together: a transaction for each. Every answer is checked, and
the ledger at the end.
"""

import argparse
import asyncio
import base64
import multiprocessing
import os
import secrets
import socket
import statistics
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from sqlalchemy import func, select

from cli.embedded import OWNER, SERVICE
from service.app import create_app
from service.billing import ledger_batcher
from service.billing.actions import Actual
from service.billing.audit import ledger_snapshot, prove
from service.billing.ledger_batcher import LedgerBatcher
from service.database.engine import Database, create_engine
from service.database.tables import LedgerEntry
from service.inference.bounds import Usage
from service.inference.metering import Meter, MeteredCall
from service.settings import Settings
from service.wakeups import Wakeups
from tests.stack import running_servers
from tests.wire import Tenant, make_tenant

WAYS = ("unmetered", "metered", "naive")
CALLERS = (1, 16)
ROUNDS = 3
ANSWER = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"ok"},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":1,'
    b'"total_tokens":12}}'
)


class Unmetered(Meter):
    """Admits every call and records nothing."""

    async def open(self, body: dict[str, Any], **about: Any) -> MeteredCall:
        """A call that reserves nothing and costs nothing."""
        return _FreeCall()


class _FreeCall(MeteredCall):
    def __init__(self) -> None:
        self._usage: Usage | None = None

    def observe(self, body: dict[str, Any]) -> None:
        pass

    async def post(self) -> None:
        pass

    async def void(self) -> None:
        pass


class Naive(LedgerBatcher):
    """A transaction for each booking, as one would write it first."""

    async def _submit(self, project_id: str, subject: ledger_batcher.Call | Actual) -> bool:
        operation = ledger_batcher._Operation(subject)
        await self._commit_or_fail(project_id, [operation])
        return await operation.result


async def upstream(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once."""
    if scope["type"] == "lifespan":
        return
    while (await receive()).get("more_body"):
        pass
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": ANSWER})


def serve(app: Any, port_file: Any, over: Event) -> None:
    """An ASGI app in a process of its own; its port goes into the pipe."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    port_file.send(listening.getsockname()[1])
    config = uvicorn.Config(app() if callable(app) and app is not upstream else app, log_level="error", log_config=None)
    server = uvicorn.Server(config)

    def wait() -> None:
        over.wait()
        server.should_exit = True

    async def run() -> None:
        asyncio.get_running_loop().run_in_executor(None, wait)
        await server.serve(sockets=[listening])

    asyncio.run(run())


class Api:
    """The API, metered in one of the ways."""

    def __init__(self, settings: Settings, way: str) -> None:
        self.settings, self.way = settings, way

    def __call__(self) -> Any:
        """Put it together in the process that serves it."""
        from service import services as composition

        if self.way == "unmetered":
            vars(composition)["Meter"] = Unmetered
        if self.way == "naive":
            vars(composition)["LedgerBatcher"] = Naive
        return create_app(self.settings)


async def measure(url: str, tenants: list[Tenant], callers: int, seconds: float) -> tuple[int, float]:
    """How many calls were answered within so many seconds, and the median of their milliseconds."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How long is river 3?"}], "max_tokens": 20}
    until = time.monotonic() + seconds
    taken: list[float] = []

    async def call(tenant: Tenant) -> None:
        headers = {"authorization": f"Bearer {tenant.key}"}
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
            while time.monotonic() < until:
                started = time.perf_counter()
                answer = await http.post("/chat/completions", json=body)
                assert answer.status_code == 200, answer.text
                taken.append((time.perf_counter() - started) * 1000)

    await asyncio.gather(*(call(tenants[number % len(tenants)]) for number in range(callers)))
    return len(taken), statistics.median(taken)


def cpu_ms(pid: int) -> float:
    """The CPU time that a process has used, in milliseconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


async def compare(settings: Settings, urls: dict[str, str], pids: dict[str, int], seconds: float) -> None:
    """All ways, for each number of callers and projects, in turns."""
    any_url = urls["metered"]
    many = [await make_tenant(any_url, settings.database_url) for _ in range(8)]
    print(
        f"{'callers':>8} {'projects':>9}  "
        + "".join(f"{way:>12}" for way in WAYS)
        + "   ratios to unmetered; median ms; CPU ms a call"
    )
    asked = 0
    for callers in CALLERS:
        for tenants in (many[:1], many):
            rates: dict[str, list[float]] = {way: [] for way in WAYS}
            waits: dict[str, list[float]] = {way: [] for way in WAYS}
            used, calls = dict.fromkeys(WAYS, 0.0), dict.fromkeys(WAYS, 0)
            for _ in range(ROUNDS):
                for way in WAYS:
                    before, started = cpu_ms(pids[way]), time.monotonic()
                    count, wait = await measure(urls[way], tenants, callers, seconds / ROUNDS)
                    used[way] += cpu_ms(pids[way]) - before
                    calls[way] += count
                    rates[way].append(count / (time.monotonic() - started))
                    waits[way].append(wait)
                    asked += count if way != "unmetered" else 0
            best = {way: statistics.median(rates[way]) for way in WAYS}
            ratios = "  ".join(f"{best[way] / best['unmetered']:.2f}" for way in WAYS[1:])
            times = "  ".join(f"{statistics.median(waits[way]):.1f}" for way in WAYS)
            cpu = "  ".join(f"{used[way] / max(1, calls[way]):.2f}" for way in WAYS)
            shown = "".join(f"{best[way]:>12.0f}" for way in WAYS)
            print(f"{callers:>8} {len(tenants):>9}  {shown}   {ratios};  {times};  {cpu}", flush=True)
    db = Database(create_engine(settings.database_url, pool_size=1), Wakeups(""))
    async with db.worker() as session:
        posted = await session.scalar(
            select(func.count())
            .select_from(LedgerEntry)
            .where(LedgerEntry.kind == "post", LedgerEntry.input_tokens == 11)
        )
    await db.close()
    async with ledger_snapshot(settings.database_url) as session:
        proof = await prove(session)
    print(
        f"{asked:,} metered calls, {posted:,} posted; the books {'balance' if proof.consistent else 'DO NOT BALANCE'}"
    )
    assert posted == asked
    assert proof.consistent


def main() -> None:
    """Start everything, measure, stop everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=6.0, help="for each cell of the table")
    seconds = parser.parse_args().seconds
    context = multiprocessing.get_context("spawn")
    over = context.Event()
    with running_servers() as servers, servers.fresh_database() as name, tempfile.TemporaryDirectory() as folder:
        processes = []

        def start(app: Any) -> tuple[str, int]:
            mine, theirs = context.Pipe()
            process = context.Process(target=serve, args=(app, theirs, over), daemon=True)
            process.start()
            processes.append(process)
            return f"http://127.0.0.1:{mine.recv()}/v1", process.pid or 0

        settings = Settings(
            database_url=servers.postgres.url(SERVICE, name),
            owner_database_url=servers.postgres.url(OWNER, name),
            upstream_base_url=start(upstream)[0],
            upstream_api_key="none",
            storage_url=f"file://{folder}",
            master_key=base64.b64encode(secrets.token_bytes(32)).decode(),
            requests_per_minute=10_000_000,
            log_level="error",
        )
        started = {way: start(Api(settings, way)) for way in WAYS}
        urls, pids = {way: url for way, (url, _) in started.items()}, {way: pid for way, (_, pid) in started.items()}
        try:
            asyncio.run(compare(settings, urls, pids, seconds))
        finally:
            over.set()
            for process in processes:
                process.join(15)


if __name__ == "__main__":
    main()
