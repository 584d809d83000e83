"""How many round trips a read takes: statements at Postgres and commands at Redis, which no clock decides."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis
from sqlalchemy import event

from service.app import create_litestar
from service.database.engine import Database
from service.database.tables import File, Job
from service.http.middleware import RequestMiddleware
from service.http.rate_limits import MAX_ROUND_TRIPS, RateLimiter
from service.ids import new_id
from service.jobs.rules import resolve_method
from service.services import Services
from service.settings import Settings
from tests.wire import make_tenant


class Reads:
    """An API in this process whose statements are recorded, and a project with a file and a job."""

    def __init__(self, http: httpx2.AsyncClient, job_id: str) -> None:
        self._http = http
        self.job_id = job_id
        self.statements: list[str] = []

    async def transaction_of(self, path: str) -> list[str]:
        """The statements of the only transaction that answers a request, by their beginnings.

        The look-up of a key and that of a project's limits, which answer many requests, are left out.
        """
        await asyncio.sleep(0)  # the driver reports a statement in the loop's next round
        self.statements.clear()
        assert (await self._http.get(path)).status_code == 200
        await asyncio.sleep(0)
        transactions: list[list[str]] = []
        for statement in self.statements:
            if statement.startswith("BEGIN"):
                transactions.append([])
            transactions[-1].append(statement)
        [transaction] = [each for each in transactions if not any(_is_shared(statement) for statement in each)]
        assert transaction[0].startswith("BEGIN READ ONLY; SELECT set_config(")
        return ["BEGIN", *(statement.split()[0] for statement in transaction[1:])]


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[Reads]:
    """The API over the test's database, with one connection, which has been used for each of the reads."""
    settings = dataclasses.replace(
        settings, upstream_base_url="http://127.0.0.1:1/v1", upstream_api_key="none", database_pool_size=1
    )
    opened: list[Services] = []

    def open_services(settings: Settings) -> Services:
        opened.append(Services.open(settings))
        return opened[0]

    tenant = await make_tenant("http://tunegate/v1", settings.database_url)
    app = create_litestar(settings, open_services)
    serving: Any = RequestMiddleware(app, settings.proxies(), body_idle_seconds=60.0)
    headers = {"authorization": f"Bearer {tenant.key}"}
    async with (
        app.lifespan(),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=serving), base_url=tenant.base_url, headers=headers
        ) as http,
    ):
        made = Reads(http, await _make_job(opened[0].db, tenant.project_id))

        def record(connection: Any, _: Any) -> None:
            connection.driver_connection.add_query_logger(lambda query: made.statements.append(query.query.strip()))

        event.listen(opened[0].db.engine.sync_engine, "connect", record)
        await opened[0].db.engine.dispose()  # so that all connections are made anew, and recorded
        for path in (f"/fine_tuning/jobs/{made.job_id}", "/files", "/models"):
            await http.get(path)
        yield made


@pytest.mark.parametrize(
    ("path", "queries"), [("/fine_tuning/jobs/{job_id}", 1), ("/files", 1), ("/models", 4), ("/files?order=asc", 1)]
)
async def test_a_read_begins_asks_once_a_query_and_ends(settings: Settings, path: str, queries: int) -> None:
    async with reading(settings) as reads:
        for _ in range(2):
            found = await reads.transaction_of(path.format(job_id=reads.job_id))
            assert found == ["BEGIN", *["SELECT"] * queries, "COMMIT"]


async def test_a_request_is_counted_once(settings: Settings, redis_url: str) -> None:
    """Redis also counts the commands of a script, so requests are compared with one count."""
    async with reading(settings) as reads, counting(redis_url) as limiter, Redis.from_url(redis_url) as redis:
        await limiter.take("once", per_minute=10)
        began = await _commands(redis)
        await limiter.take("once", per_minute=10)
        of_one = await _commands(redis) - began
        began = await _commands(redis)
        for path in (f"/fine_tuning/jobs/{reads.job_id}", "/files", "/models"):
            await reads.transaction_of(path)
        assert 3 * of_one <= await _commands(redis) - began < 4 * of_one


async def test_counts_at_the_same_time_share_round_trips(redis_url: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        before = {each["id"] for each in await _connections(redis)}
        async with counting(redis_url) as limiter:
            takes = (limiter.take(f"limit-{number % 3}", per_minute=30) for number in range(120))
            verdicts = await asyncio.gather(*takes)
            opened = {each["id"] for each in await _connections(redis)} - before
    assert [each is not None and each.retry_after_seconds is None for each in verdicts].count(True) == 90
    assert len(opened) <= MAX_ROUND_TRIPS


@asynccontextmanager
async def counting(redis_url: str) -> AsyncIterator[RateLimiter]:
    """A connected limiter."""
    limiter = RateLimiter(redis_url)
    await limiter.warm()
    try:
        yield limiter
    finally:
        await limiter.close()


async def _connections(redis: Redis) -> list[dict[str, str]]:
    """The other connections of the test's Redis database."""
    own = await redis.client_id()
    database = str(redis.get_connection_kwargs()["db"])  # type: ignore[no-untyped-call]
    return [each for each in await redis.client_list() if each["db"] == database and each["id"] != str(own)]


async def _commands(redis: Redis) -> int:
    return sum(int(each["tot-cmds"]) for each in await _connections(redis))


def _is_shared(statement: str) -> bool:
    return "'tunegate.scope', 'admin'" in statement or "JOIN rate_limits" in statement


async def _make_job(db: Database, project_id: str) -> str:
    file_id, job_id = new_id("file-"), new_id("ftjob-")
    async with db.project(project_id) as session:
        session.add(
            File(
                id=file_id,
                project_id=project_id,
                filename="training.jsonl",
                purpose="fine-tune",
                size_bytes=1,
                sha256="0" * 64,
                storage_key=file_id,
                status="processed",
            )
        )
        await session.flush()
        session.add(
            Job(
                id=job_id,
                project_id=project_id,
                state="validating",  # the place of a waiting job is read once a second, for all requests together
                model="gpt-4o-mini-2024-07-18",
                training_file_id=file_id,
                seed=1,
                method=resolve_method(None, None),
            )
        )
    return job_id
