"""Several API processes on one listener: which one serves, what replaces it, and how they end."""

import dataclasses
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from cli.supervisor import Program
from service.identity.keys import new_key
from service.settings import Settings
from tests.cli.api_processes import DRAINED, HANGS
from tests.faults.processes import Process, environment, wait_until
from tests.stack import is_running
from tests.wire import make_tenant

WITHIN_SECONDS = 60.0
LIMIT = 6
SERVE = [sys.executable, "-m", "cli", "serve", "--processes", "2", "--fd"]


class Row:
    """A row of processes, and clients of it. Each request opens a connection, so that any process may answer."""

    def __init__(self, command: list[str], folder: Path, variables: dict[str, str]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.process = Process(
            Program(
                name="row",
                command=[part.replace("FD", str(self._listener.fileno())) for part in command],
                environment=variables,
                log=folder / "row.log",
                pass_fds=(self._listener.fileno(),),
            )
        ).start()

    def listen_no_longer(self) -> None:
        """Close the test's copy of the socket."""
        self._listener.close()

    async def get(self, path: str, key: str = "") -> httpx2.Response:
        """One request."""
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=WITHIN_SECONDS) as client:
            return await client.get(path, headers={"authorization": f"Bearer {key}"} if key else {})

    async def answering(self, wanted: int) -> set[int]:
        """The pids that answer, once there are so many."""
        seen: set[int] = set()

        async def enough() -> bool:
            seen.add(int((await self.get("/pid")).text))
            return len(seen) >= wanted

        await wait_until(enough, WITHIN_SECONDS, f"{wanted} processes do not serve:\n{self.process.output()}")
        return seen

    def begin_request(self) -> socket.socket:
        """A request whose body is not complete."""
        begun = socket.create_connection(("127.0.0.1", self.port))
        begun.sendall(b"POST /wait HTTP/1.1\r\nhost: here\r\ncontent-length: 4\r\n\r\n12")
        return begun

    def hang(self) -> socket.socket:
        """Have the event loop of a process block."""
        hung = socket.create_connection(("127.0.0.1", self.port))
        hung.sendall(b"GET /hang HTTP/1.1\r\nhost: here\r\n\r\n")
        return hung

    async def ended(self) -> int:
        """The exit status, after every process has ended."""
        return await self.process.ended(WITHIN_SECONDS)

    def close(self) -> None:
        """End what still runs."""
        self.process.kill()
        self._listener.close()


@pytest.fixture
def row(tmp_path: Path) -> Iterator[Row]:
    """Two processes of a small app."""
    running = Row([sys.executable, "-m", "tests.cli.api_processes", "FD"], tmp_path, dict(os.environ))
    yield running
    running.close()


async def gone(pids: set[int]) -> None:
    """Wait until none of them runs."""
    await wait_until(lambda: not any(map(is_running, pids)), WITHIN_SECONDS, "a process has not ended")


async def test_both_serve_and_a_killed_one_is_replaced(row: Row) -> None:
    first, second = await row.answering(2)
    os.kill(first, signal.SIGKILL)
    await gone({first})
    assert second in await row.answering(2)
    assert "api_process.ended" in row.process.output()


async def test_one_whose_event_loop_hangs_is_replaced(row: Row) -> None:
    before = await row.answering(2)
    hung = row.hang()
    await wait_until(lambda: not all(map(is_running, before)), WITHIN_SECONDS, "the hung process still runs")
    assert await row.answering(2) != before
    assert "api_process.silent" in row.process.output()
    hung.close()


async def test_sigterm_lets_requests_end_however_many_processes_receive_it(row: Row) -> None:
    """As from systemd, which sends it to all of them."""
    pids = await row.answering(2)
    begun = [row.begin_request() for _ in range(8)]
    await row.answering(2)  # the requests were accepted before
    row.listen_no_longer()
    for pid in (row.process.pid, *pids):
        os.kill(pid, signal.SIGTERM)
    await wait_until(lambda: not _accepts(row.port), WITHIN_SECONDS, "new connections are accepted")
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    for request in begun:
        request.sendall(b"34")
        assert request.recv(100).startswith(b"HTTP/1.1 200 OK")
    assert await row.ended() == 0
    assert row.process.output().count(DRAINED) == 2


async def test_after_sigterm_one_that_is_paused_accepts_no_connection(row: Row) -> None:
    paused = min(await row.answering(2))
    row.listen_no_longer()
    os.kill(paused, signal.SIGSTOP)
    row.process.signal(signal.SIGTERM)
    await wait_until(lambda: not _accepts(row.port), WITHIN_SECONDS, "new connections are accepted")
    assert is_running(paused)


async def test_a_second_sigterm_aborts(row: Row) -> None:
    pids = await row.answering(2)
    begun = [row.begin_request() for _ in range(8)]
    await row.answering(2)
    row.listen_no_longer()
    row.process.signal(signal.SIGTERM)
    await wait_until(lambda: not _accepts(row.port), WITHIN_SECONDS, "new connections are accepted")
    assert row.process.alive
    row.process.signal(signal.SIGTERM)
    assert await row.ended() == 0
    await gone(pids)
    assert DRAINED not in row.process.output()
    assert "api_process.killed" not in row.process.output()
    for request in begun:
        request.close()


async def test_none_outlives_the_process_that_started_them(row: Row) -> None:
    """Not even one whose event loop hangs."""
    pids = await row.answering(2)
    hung = row.hang()
    await wait_until(lambda: HANGS in row.process.output(), WITHIN_SECONDS, "nothing hangs")
    row.process.kill()
    await gone(pids)
    hung.close()


async def test_a_start_that_fails_ends_all(tmp_path: Path) -> None:
    running = Row([sys.executable, "-m", "tests.cli.api_processes", "FD", "fails"], tmp_path, dict(os.environ))
    assert await running.ended() == 3
    running.close()


@pytest.fixture
async def gateway(settings: Settings, tmp_path: Path) -> AsyncIterator[Row]:
    """`tunegate serve --processes 2`, with small limits."""
    small = dataclasses.replace(
        settings,
        requests_per_minute=LIMIT,
        failed_keys_per_minute=LIMIT,
        upstream_base_url="http://127.0.0.1:1/v1",
        upstream_api_key="none",
    )
    running = Row([*SERVE, "FD"], tmp_path, environment(small) | {"TMPDIR": str(tmp_path)})

    assert (await running.get("/readyz")).status_code == 200, running.process.output()
    yield running
    running.close()


class TestOfTheGateway:
    async def test_limits_are_those_of_all_processes(self, gateway: Row, settings: Settings, tmp_path: Path) -> None:
        tenant = await make_tenant(f"http://127.0.0.1:{gateway.port}/v1", settings.database_url)
        before = requests_by_process(tmp_path)

        async def statuses(key: str) -> list[int]:
            """Those of requests until each process has refused some."""
            nonlocal before
            answered: list[int] = []
            while any(now - then <= LIMIT for then, now in zip(before, requests_by_process(tmp_path), strict=True)):
                answered.append((await gateway.get("/v1/models", key)).status_code)
            before = requests_by_process(tmp_path)
            return answered

        mine = await statuses(tenant.key)
        assert (mine.count(200), mine.count(429)) == (LIMIT, len(mine) - LIMIT)
        unknown = await statuses(new_key("project"))
        assert (unknown.count(401), unknown.count(429)) == (LIMIT, len(unknown) - LIMIT)

    async def test_a_scrape_shows_all_processes_and_counts_survive_them(self, gateway: Row) -> None:
        port = re.search(r'"port": (\d+), "event": "internal_listener.started"', gateway.process.output())
        assert port is not None

        async def scrape() -> str:
            async with httpx2.AsyncClient() as client:
                return (await client.get(f"http://127.0.0.1:{port[1]}/metrics", timeout=WITHIN_SECONDS)).text

        def requests(text: str) -> float:
            found = re.findall(r'^tunegate_http_requests_total{.*route="/livez".*} (.*)$', text, re.MULTILINE)
            return float(found[0])

        for _ in range(LIMIT):
            assert (await gateway.get("/livez")).status_code == 200
        text = await scrape()
        assert requests(text) == LIMIT
        assert "tunegate_upstream_cooling_down" in text
        pids = set(re.findall(r'^process_resident_memory_bytes{pid="(\d+)"}', text, re.MULTILINE))
        assert len(pids) == 2
        for pid in pids:
            os.kill(int(pid), signal.SIGKILL)
        await gone(set(map(int, pids)))
        assert (await gateway.get("/livez")).status_code == 200

        async def counted() -> bool:  # a scrape is used for a second
            return requests(await scrape()) == LIMIT + 1

        await wait_until(counted, WITHIN_SECONDS, "the counts of killed processes are missing")

    async def test_without_redis_it_does_not_start(self, tmp_path: Path) -> None:
        refused = Row([*SERVE, "FD"], tmp_path, environment(Settings()))
        assert await refused.ended() == 2
        assert "REDIS_URL" in refused.process.output()
        refused.close()


def requests_by_process(folder: Path) -> list[int]:
    """How many requests each of the processes has answered, by the files in which they count."""
    files = sorted(folder.glob("tunegate-metrics-*/counter_[0-9]*.db"))
    merged = [MultiProcessCollector.merge([str(file)]) for file in files]  # type: ignore[no-untyped-call]
    named = ([metric for metric in metrics if metric.name == "tunegate_http_requests"] for metrics in merged)
    counts = [int(sum(sample.value for metric in metrics for sample in metric.samples)) for metrics in named]
    return counts + [0] * (2 - len(counts))


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=WITHIN_SECONDS).close()
    except OSError:
        return False
    return True
