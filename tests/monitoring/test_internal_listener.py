"""The internal listener of a process: what it serves, where, and what it costs."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from cli.embedded import free_port
from service.database.encryption import sealer_of
from service.database.engine import Database, create_engine
from service.errors import SettingsError
from service.monitoring import internal_listener
from service.monitoring.internal_listener import InternalListener, listen
from service.monitoring.readiness import ReadinessCheck
from service.settings import Settings
from service.storage import Storage
from service.wakeups import Wakeups
from tests.identity.fixtures import Connections
from workers import main
from workers.dispatcher import Dispatcher
from workers.main import _fault


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    """A fresh database."""
    opened = Database(create_engine(settings.database_url, pool_size=5), Wakeups(""))
    yield opened
    await opened.close()


@pytest.fixture
async def listener() -> AsyncIterator[InternalListener]:
    """One that serves on a free port, and knows nothing yet."""
    async with InternalListener(Settings(metrics_port=free_port())).serving() as serving:
        yield serving


@pytest.fixture
async def http(listener: InternalListener) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of it."""
    limits = httpx2.Limits(max_connections=20)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{listener.port}", timeout=60, limits=limits) as client:
        yield client


class TestServes:
    async def test_what_a_process_reports_and_nothing_else(self, http: httpx2.AsyncClient) -> None:
        metrics = await http.get("/metrics")
        assert metrics.status_code == 200
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "# TYPE tunegate_http_requests_total counter" in metrics.text
        assert "_created" not in metrics.text
        assert (await http.get("/livez")).json() == {"status": "ok"}
        assert (await http.head("/livez")).content == b""
        assert (await http.get("/v1/files")).status_code == 404
        assert (await http.post("/metrics", content=b"x" * 100_000)).status_code == 405

    async def test_readiness_from_the_moment_that_its_resources_are_open(
        self, listener: InternalListener, http: httpx2.AsyncClient, db: Database, settings: Settings
    ) -> None:
        starting = await http.get("/readyz")
        assert (starting.status_code, starting.json()["status"]) == (503, "unavailable")
        listener.ready = ReadinessCheck(db, Storage(settings.storage_url), sealer_of(settings))
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.json()["database"]) == (200, "ok")
        assert ready.json()["reconciler"] == "no worker has reported"

    async def test_many_probes_by_one_query(
        self, listener: InternalListener, http: httpx2.AsyncClient, db: Database, settings: Settings
    ) -> None:
        connections = Connections(db)
        listener.ready = ReadinessCheck(db, Storage(settings.storage_url), sealer_of(settings))
        scrapes = 0

        async def measure() -> tuple[()]:
            nonlocal scrapes
            scrapes += 1
            await asyncio.sleep(0.05)
            return ()

        listener.measure = measure
        begun = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*(http.get(path) for path in ("/readyz", "/metrics") for _ in range(100)))
        seconds = asyncio.get_running_loop().time() - begun
        assert {answer.status_code for answer in answers} == {200}
        assert connections.max == 1
        assert 1 <= scrapes <= 2 + seconds / internal_listener.REUSED_SECONDS


async def test_connections_have_a_maximum(listener: InternalListener) -> None:
    """Beyond it a request is answered with 503. The connections that are open stay, and closed ones make room."""
    async with AsyncExitStack() as opened:
        for _ in range(internal_listener.MAX_CONNECTIONS - 1):
            assert await _status(listener, opened) == 200
        assert await _status(listener, opened) == 503
    async with asyncio.timeout(60), AsyncExitStack() as again:
        while await _status(listener, again) != 200:
            await asyncio.sleep(0.05)


async def _status(listener: InternalListener, opened: AsyncExitStack) -> int:
    """The status of a request on a connection that stays open."""
    client = await opened.enter_async_context(httpx2.AsyncClient(timeout=60))
    return (await client.get(f"http://127.0.0.1:{listener.port}/livez")).status_code


class TestLiveness:
    async def test_of_a_worker_fails_when_its_dispatcher_begins_no_rounds(
        self, listener: InternalListener, http: httpx2.AsyncClient, db: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(main, "SILENT_SECONDS", 0.5)
        dispatcher = Dispatcher(db, [], lease_seconds=5.0, every_seconds=0.01)
        listener.fault = lambda: _fault(dispatcher)

        async def becomes(status: int) -> dict[str, Any]:
            async with asyncio.timeout(60):
                while (answer := await http.get("/livez")).status_code != status:
                    await asyncio.sleep(0.02)
            body: dict[str, Any] = answer.json()
            return body

        assert "no round" in (await becomes(503))["status"]
        running = asyncio.create_task(dispatcher.run())
        await becomes(200)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await becomes(503)

    async def test_does_not_depend_on_the_database(self) -> None:
        away = Database(create_engine("postgresql://x:x@127.0.0.1:1/x", pool_size=1), Wakeups(""))
        dispatcher = Dispatcher(away, [], lease_seconds=5.0, every_seconds=0.01)
        running = asyncio.create_task(dispatcher.run())
        begun = set[float]()
        async with asyncio.timeout(60):
            while len(begun) < 5:
                await asyncio.sleep(0.01)
                begun.add(dispatcher._begun_at)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await away.close()
        assert dispatcher.rounds == 0


class TestPort:
    def test_the_default_or_a_free_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            monkeypatch.setattr(internal_listener, "DEFAULT_PORT", taken.getsockname()[1])
            with listen(Settings()) as listening:
                host, port = listening.getsockname()
        assert host == "127.0.0.1"
        assert port != internal_listener.DEFAULT_PORT
        with listen(Settings()) as listening:
            assert listening.getsockname()[1] == internal_listener.DEFAULT_PORT

    def test_one_that_was_set_and_is_taken_is_refused(self) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as taken,
            pytest.raises(SettingsError, match=r"TUNEGATE_METRICS_PORT \d+: .*Set an address of this machine"),
        ):
            listen(Settings(metrics_port=taken.getsockname()[1]))

    def test_one_that_is_taken_is_replaced_in_development(self) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as taken,
            listen(Settings(metrics_port=taken.getsockname()[1], environment="dev")) as listening,
        ):
            assert listening.getsockname()[1] != taken.getsockname()[1]

    @pytest.mark.parametrize("wrong", [{"metrics_port": 70_000}, {"metrics_host": "192.0.2.1"}])
    def test_one_that_cannot_be_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(SettingsError, match="TUNEGATE_METRICS_"):
            listen(Settings(**wrong))
