"""`python -m benchmarks.webhooks [--deliveries 10000] [--rate 0.5]`: deliveries a second, their latency, hanging ones.

Real `tunegate worker` processes (two, as there are cores), a receiver in a process of its own, and Postgres and Valkey
as the tests have them (Postgres does not wait for the disk). Latency is from the commit of the event to the receiver's
having read the request, by one clock. Every figure of a comparison comes from the same run:

- burst: all deliveries at once to 100 endpoints; how many a second arrive;
- steady: the same number at a share (`--rate`) of that speed, to 100 endpoints that are well, then with every tenth of
  them never answering, then all well again. The ratio is of the healthy endpoints' p99: hanging to the mean of the others;
- latency: one delivery at a time, with Redis and without.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import dataclasses
import datetime as dt
import json
import multiprocessing
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from sqlalchemy import insert, update

from cli.embedded import OWNER, SERVICE
from service.database.encryption import Sealer
from service.database.engine import Database, create_engine
from service.database.tables import Project, WebhookEndpoint
from service.ids import new_id
from service.logs import configure
from service.settings import Settings
from service.wakeups import Wakeups
from service.webhooks import outbox
from service.webhooks.secrets import seal_secret
from service.webhooks.signing import new_secret
from tests.stack import Servers, running_servers
from tests.workers.process import WorkerProcess

WORKERS, ENDPOINTS = 2, 100
TYPES = ("fine_tuning.job.succeeded", "fine_tuning.job.failed")
QUIET_SECONDS = 60.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Receiver:
    """A process that answers `/well/N` at once and `/hang` never, and notes when each event came where."""

    def __init__(self) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_receive, args=(theirs,), daemon=True)
        self._process.start()
        self.port: int = self._ours.recv()

    def arrivals(self, wanted: set[str]) -> dict[str, float]:
        """When each of these (event and path) came first, once all have."""
        deadline = time.monotonic() + QUIET_SECONDS + len(wanted) / 20
        while time.monotonic() < deadline:
            time.sleep(0.2)
            self._ours.send(None)
            came: dict[str, float] = self._ours.recv()
            if wanted <= came.keys():
                return came
        raise SystemExit(f"{len(wanted - came.keys())} deliveries do not arrive")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.join()


def _receive(pipe: Connection) -> None:
    came: dict[str, float] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST /hang"):
            await reader.read()
        else:
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            event_id = head.lower().partition(b"webhook-id:")[2].partition(b"\r\n")[0].strip().decode()
            came.setdefault(f"{event_id} {head.split(b' ', 2)[1].decode()}", time.time())
            writer.write(OK)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        while True:
            await asyncio.to_thread(pipe.recv)
            pipe.send(dict(came))

    asyncio.run(main())


@dataclasses.dataclass(frozen=True)
class WorkerHarness:
    """A database with workers on it, and a receiver."""

    settings: Settings
    db: Database
    receiver: Receiver

    async def new_endpoints(self, well: int, hanging: int) -> str:
        """A project with so many endpoints, each subscribed to a type of its own kind: the project's id."""
        project_id, sealer = new_id("proj_"), Sealer(self.settings.master_key_bytes())
        async with self.db.admin() as session:
            session.add(Project(id=project_id, name=project_id))
            await session.flush()
            for number in range(well + hanging):
                endpoint_id, hangs = new_id("we_"), number >= well
                await session.execute(
                    insert(WebhookEndpoint).values(
                        id=endpoint_id,
                        project_id=project_id,
                        name=str(number),
                        url=f"http://127.0.0.1:{self.receiver.port}/{'hang' if hangs else f'well/{number}'}",
                        event_types=[TYPES[hangs]],
                        secret_encrypted=seal_secret(sealer, endpoint_id, new_secret()),
                        secret_hint="-",
                    )
                )
        return project_id

    async def forget(self, project_id: str) -> None:
        """Have what still hangs of a project end."""
        async with self.db.admin() as session:
            mine = WebhookEndpoint.project_id == project_id
            await session.execute(update(WebhookEndpoint).where(mine).values(deleted_at=dt.datetime.now(dt.UTC)))

    async def happen(
        self, project_ids: Sequence[str], type: str, *, events: int, per_second: float | None
    ) -> dict[str, float]:
        """So many events, each in a transaction of its own (ten at a time): when each was committed."""
        committed: dict[str, float] = {}
        started, numbers = time.monotonic(), iter(range(events))

        async def emit() -> None:
            for number in numbers:
                if per_second is not None:
                    await asyncio.sleep(max(0.0, started + number / per_second - time.monotonic()))
                async with self.db.worker() as session:
                    event_id = await outbox.emit(
                        session,
                        project_id=project_ids[number % len(project_ids)],
                        type=type,
                        subject="ftjob-1",
                        data={"status": "succeeded"},
                        now=dt.datetime.now(dt.UTC),
                    )
                committed[event_id] = time.time()

        await asyncio.gather(*(emit() for _ in range(10)))
        return committed


async def burst(harness: WorkerHarness, deliveries: int) -> float:
    """Deliveries a second of a burst: one event goes to the ten endpoints of one of ten projects."""
    projects = [await harness.new_endpoints(10, 0) for _ in range(10)]
    started = time.time()
    committed = await harness.happen(projects, TYPES[0], events=deliveries // 10, per_second=None)
    wanted = {f"{event_id} /well/{number}" for event_id in committed for number in range(10)}
    came = await asyncio.to_thread(harness.receiver.arrivals, wanted)
    return deliveries / (max(came[each] for each in wanted) - started)


async def long_lease_settings(
    harness: WorkerHarness, *, deliveries: int, per_second: float, hanging: int
) -> list[float]:
    """Latencies of the healthy endpoints, each with a project of its own, of which so many hang in between."""
    well = ENDPOINTS - hanging
    projects = [await harness.new_endpoints(1, 0) for _ in range(well)]
    dead = [await harness.new_endpoints(0, 1) for _ in range(hanging)]
    share = deliveries * well // ENDPOINTS
    hung = (
        asyncio.create_task(
            harness.happen(dead, TYPES[1], events=deliveries - share, per_second=per_second * hanging / ENDPOINTS)
        )
        if hanging
        else None
    )
    committed = await harness.happen(projects, TYPES[0], events=share, per_second=per_second * well / ENDPOINTS)
    latencies = await _latencies(harness, committed)
    if hung is not None:
        await hung
    for project_id in dead:
        await harness.forget(project_id)
    return latencies


async def alone(harness: WorkerHarness, count: int = 100) -> list[float]:
    """Latencies of single deliveries, four a second: no queue, only the way from the commit to the receiver."""
    project_id = await harness.new_endpoints(1, 0)
    committed = await harness.happen([project_id], TYPES[0], events=count, per_second=4)
    return await _latencies(harness, committed)


async def _latencies(harness: WorkerHarness, committed: dict[str, float]) -> list[float]:
    came = await asyncio.to_thread(harness.receiver.arrivals, {f"{event_id} /well/0" for event_id in committed})
    return [came[f"{event_id} /well/0"] - at for event_id, at in committed.items()]


@asynccontextmanager
async def bench_on(servers: Servers, database: str, *, redis: bool, receiver: Receiver) -> AsyncIterator[WorkerHarness]:
    """Two workers on a database."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            database_url=servers.postgres.url(SERVICE, database),
            owner_database_url=servers.postgres.url(OWNER, database),
            redis_url=servers.valkey.url if redis else "",
            upstream_base_url="http://127.0.0.1:1/v1",
            upstream_api_key="none",
            environment="dev",
            master_key=base64.b64encode(secrets.token_bytes(32)).decode(),
            storage_url=f"file://{folder}/storage",
            webhook_allow_private=True,
            log_level="error",
        )
        db = Database(create_engine(settings.database_url, pool_size=12), Wakeups(settings.redis_url))
        folders = [Path(folder) / str(number) for number in range(WORKERS)]
        for each in folders:
            each.mkdir()
        workers = [WorkerProcess(settings, each) for each in folders]
        try:
            harness = WorkerHarness(settings, db, receiver)
            await alone(harness, 20)  # until both serve, and everything is warm
            await asyncio.sleep(5)
            yield harness
        finally:
            for worker in workers:
                await worker.__aexit__()
            await db.close()


@contextmanager
def everything() -> Iterator[tuple[Servers, Receiver]]:
    """The servers and the receiver."""
    receiver = Receiver()
    try:
        with running_servers() as servers:
            yield servers, receiver
    finally:
        receiver.stop()


def at(latencies: list[float], share: float) -> float:
    """A percentile, in milliseconds."""
    return 1000 * sorted(latencies)[min(len(latencies) - 1, int(share * len(latencies)))]


def shown(latencies: list[float]) -> str:
    """p50 and p99."""
    return f"p50 {at(latencies, 0.5):,.0f} ms, p99 {at(latencies, 0.99):,.0f} ms"


async def measure(servers: Servers, database: str, receiver: Receiver, options: argparse.Namespace) -> dict[str, float]:
    """Everything that is measured with Redis, said as it comes."""
    found: dict[str, float] = {}
    deliveries, rate = options.deliveries, options.rate
    async with bench_on(servers, database, redis=True, receiver=receiver) as harness:
        found["redis_p99_ms"] = at(latencies := await alone(harness), 0.99)
        print(f"one at a time, with Redis:    {shown(latencies)}", flush=True)
        found["per_second"] = per_second = await burst(harness, deliveries)
        print(f"burst of {deliveries:,} to {ENDPOINTS} endpoints: {per_second:,.0f} a second", flush=True)
        p99s = []
        for hanging in (0, ENDPOINTS // 10, 0):
            latencies = await long_lease_settings(
                harness, deliveries=deliveries, per_second=rate * per_second, hanging=hanging
            )
            p99s.append(at(latencies, 0.99))
            what = f"{hanging} of {ENDPOINTS} hanging"
            print(f"{rate * per_second:,.0f} a second, {what}: healthy ones {shown(latencies)}", flush=True)
        found["hanging_ratio"] = p99s[1] / ((p99s[0] + p99s[2]) / 2)
        print(f"p99 with hanging ones : without = {found['hanging_ratio']:.2f}", flush=True)
    return found


async def measure_without_redis(servers: Servers, database: str, receiver: Receiver) -> dict[str, float]:
    """Deliveries that the reconciler finds by itself."""
    async with bench_on(servers, database, redis=False, receiver=receiver) as harness:
        latencies = await alone(harness)
    print(f"one at a time, without Redis: {shown(latencies)}", flush=True)
    return {"no_redis_p99_ms": at(latencies, 0.99)}


def main() -> None:
    """Measures, and says whether the hanging endpoints delayed the others."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--deliveries", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=0.5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    configure("error", "json")
    with everything() as (servers, receiver):
        with servers.fresh_database() as database:
            found = asyncio.run(measure(servers, database, receiver, options))
        with servers.fresh_database() as database:
            found |= asyncio.run(measure_without_redis(servers, database, receiver))
    if options.json:
        print(json.dumps(found))
    raise SystemExit(0 if found["hanging_ratio"] <= 2 else 1)


if __name__ == "__main__":
    main()
