"""Rate limits over real API processes and a real Redis: exact counts, honest headers, and no harm without Redis."""

import asyncio
import base64
import dataclasses
import math
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import redis.asyncio
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from limits.aio.storage import MemoryStorage
from sqlalchemy import delete

from cli.embedded import OWNER, SERVICE, Valkey, free_port
from cli.supervisor import GUARD, log_tail
from service.database.engine import Database, create_engine
from service.database.tables import RateLimit
from service.http.rate_limits import MAX_RETRY_AFTER_SECONDS, RESPONSE_SECONDS, RateLimiter, Window, duration
from service.identity.keys import new_key
from service.limits import rates
from service.limits.rates import estimated_tokens
from service.limits.schemas import ALL_MODELS
from service.monitoring import internal_listener
from service.settings import Settings
from service.wakeups import Wakeups
from tests.stack import ROOT, Servers
from tests.wire import Tenant, eventually, make_tenant, refusal
from tests.workers.process import environment

DURATION = re.compile(r"^(?:\d+ms|(?:\d+h)?(?:\d+m)?\d+(?:\.\d+)?s)$")
SECONDS = 90.0
ATTEMPTS = 10
MODULES = ("tests.http.patient", "tests.http.patient", "cli")
"""What runs the processes: two that wait for Redis however long it takes, and one as in production."""

AS_IN_PRODUCTION = 2

pytestmark = pytest.mark.xdist_group("rate_limits")


class Redis:
    """A Redis that a test may stop and start again."""

    def __init__(self, folder: Path) -> None:
        self.valkey = Valkey(folder=folder / "redis", port=free_port(), password="secret")
        self._program = self.valkey.program(folder / "redis.log")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._program.command, stdout=subprocess.DEVNULL)
        assert self._program.ready is not None
        eventually(self._program.ready)

    def kill(self) -> None:
        """End it at once."""
        _end(self._process)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """API processes over one database and one Redis."""

    base_urls: list[str]
    metrics_ports: list[int]
    settings: Settings
    redis: Redis


@dataclass(frozen=True, kw_only=True)
class Apis:
    """The same, for one test."""

    base_urls: list[str]
    metrics_ports: list[int]
    settings: Settings
    redis: Redis
    db: Database

    async def tenant(self, *, per_minute: int | None = None) -> Tenant:
        """A fresh project, with a rate limit if given."""
        made = await make_tenant(self.base_urls[0], self.settings.database_url)
        if per_minute is not None:
            await self.limit(made, per_minute)
        return made

    async def limit(
        self, tenant: Tenant, per_minute: int, *, model: str = ALL_MODELS, tokens: int | None = None
    ) -> None:
        """Set a project's rate limit, as its row has it."""
        async with self.db.admin() as session:
            await session.execute(
                delete(RateLimit).where(RateLimit.project_id == tenant.project_id, RateLimit.model == model)
            )
            session.add(
                RateLimit(
                    project_id=tenant.project_id,
                    model=model,
                    max_requests_per_1_minute=per_minute,
                    max_tokens_per_1_minute=tokens,
                )
            )

    def http(self, tenant: Tenant, *, process: int = 0, headers: dict[str, str] | None = None) -> httpx2.AsyncClient:
        """A client of one of the processes."""
        named = {"authorization": f"Bearer {tenant.key}", **(headers or {})}
        return httpx2.AsyncClient(base_url=self.base_urls[process], headers=named, timeout=SECONDS)

    async def unavailable(self, process: int = 0) -> float:
        """How many requests a process has let through uncounted."""
        await asyncio.sleep(internal_listener.REUSED_SECONDS)  # an earlier scrape's result is used for this time
        async with httpx2.AsyncClient(timeout=SECONDS) as client:
            text = (await client.get(f"http://127.0.0.1:{self.metrics_ports[process]}/metrics")).text
        found = re.search(r"^tunegate_rate_limiter_unavailable_total (\S+)$", text, re.MULTILINE)
        return float(found.group(1)) if found else math.nan

    async def asked_of_redis(self) -> int:
        """How many connections and counts there have been at Redis."""
        async with redis.asyncio.Redis.from_url(self.redis.valkey.url) as connection:
            counts = (await connection.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})
            return int((await connection.info("stats"))["total_connections_received"]) + int(counts["calls"])


@pytest.fixture(scope="module")
def processes(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Three API processes, as `tunegate serve` runs them."""
    folder = tmp_path_factory.mktemp("apis")
    with ExitStack() as stack:
        name = stack.enter_context(servers.fresh_database())
        server = Redis(folder)
        stack.callback(server.kill)
        settings = Settings(
            database_url=servers.postgres.url(SERVICE, name),
            owner_database_url=servers.postgres.url(OWNER, name),
            redis_url=server.valkey.url,
            environment="dev",
            upstream_base_url="http://127.0.0.1:1/v1",
            upstream_api_key="none",
            master_key=base64.b64encode(secrets.token_bytes(32)).decode(),
            storage_url=f"file://{folder / 'storage'}",
            failed_keys_per_minute=20,
            database_pool_size=5,
        )
        ports, metrics_ports = [free_port() for _ in MODULES], [free_port() for _ in MODULES]
        for port, metrics_port, module in zip(ports, metrics_ports, MODULES, strict=True):
            guard = [sys.executable, "-I", "-S", str(GUARD), "--parent", str(os.getpid()), "--"]
            process = subprocess.Popen(
                [*guard, sys.executable, "-m", module, "serve"],
                cwd=ROOT,
                env=environment(dataclasses.replace(settings, port=port, metrics_port=metrics_port)),
                stdin=subprocess.DEVNULL,
                stdout=stack.enter_context((folder / f"{port}.log").open("ab")),
                stderr=subprocess.STDOUT,
            )
            stack.callback(_end, process)
        base_urls = [f"http://127.0.0.1:{port}/v1" for port in ports]
        for port, base_url in zip(ports, base_urls, strict=True):
            try:
                eventually(partial(_lives, base_url))
            except AssertionError:
                pytest.fail(log_tail(folder / f"{port}.log", 40))
        yield Processes(base_urls=base_urls, metrics_ports=metrics_ports, settings=settings, redis=server)


@pytest.fixture
async def apis(processes: Processes) -> AsyncIterator[Apis]:
    """The processes, once all of them count."""
    db = Database(create_engine(processes.settings.database_url, pool_size=2), Wakeups(""))
    made = Apis(
        base_urls=processes.base_urls,
        metrics_ports=processes.metrics_ports,
        settings=processes.settings,
        redis=processes.redis,
        db=db,
    )
    tenant = await made.tenant()
    for number in range(len(made.base_urls)):
        async with made.http(tenant, process=number) as http:
            await _until(partial(_counted, http))
    yield made
    await db.close()


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _lives(base_url: str) -> bool:
    try:
        return httpx2.get(f"{base_url.removesuffix('/v1')}/livez", timeout=2).status_code == 200
    except httpx2.HTTPError:
        return False


class TestCounting:
    async def test_exactly_the_limit_is_admitted_over_two_processes(self, apis: Apis) -> None:
        other, tenant = await apis.tenant(), await apis.tenant(per_minute=50)
        async with apis.http(tenant) as one, apis.http(tenant, process=1) as two:
            answers = await asyncio.gather(*(client.get("/files") for client in (one, two) for _ in range(40)))
        assert Counter(answer.status_code for answer in answers) == {200: 50, 429: 30}
        async with apis.http(other) as theirs:
            assert (await theirs.get("/files")).status_code == 200
            assert (await theirs.get("/files")).headers["x-ratelimit-remaining-requests"] == "998"
        for answer in answers:
            assert answer.headers["x-ratelimit-limit-requests"] == "50"
            assert 0 <= int(answer.headers["x-ratelimit-remaining-requests"]) < 50
            assert DURATION.match(answer.headers["x-ratelimit-reset-requests"])
        refused = next(answer for answer in answers if answer.status_code == 429)
        error = refusal(refused)
        assert (error["code"], refused.headers["x-should-retry"]) == ("rate_limit_exceeded", "true")
        assert 1 <= int(refused.headers["retry-after"]) <= MAX_RETRY_AFTER_SECONDS

    async def test_every_answer_carries_the_headers_refusals_too(self, apis: Apis) -> None:
        tenant = await apis.tenant()
        async with apis.http(tenant) as http:
            for path in ("/files", "/files/file-none", "/files?unknown=1", "/fine_tuning/jobs"):
                assert (await http.get(path)).headers["x-ratelimit-limit-requests"] == "1000", path

    async def test_a_changed_limit_holds_within_a_second_and_forgets_nothing(self, apis: Apis) -> None:
        tenant = await apis.tenant(per_minute=5)
        async with apis.http(tenant) as http:
            assert [(await http.get("/files")).status_code for _ in range(6)] == [200] * 5 + [429]
            await apis.limit(tenant, 8)
            assert rates.CACHE_SECONDS < 1
            began = time.monotonic()
            while (await http.get("/files")).status_code == 429:
                assert time.monotonic() - began < SECONDS / 2
                await asyncio.sleep(0.05)
            assert [(await http.get("/files")).status_code for _ in range(3)] == [200] * 2 + [429]

    async def test_health_and_documents_are_not_limited(self, apis: Apis) -> None:
        tenant = await apis.tenant(per_minute=1)
        root = apis.base_urls[0].removesuffix("/v1")
        async with apis.http(tenant) as http:
            await http.get("/files")
            assert (await http.get("/files")).status_code == 429
            for path in ("/livez", "/readyz", "/docs"):
                answer = await http.get(f"{root}{path}")
                assert (answer.status_code, "x-ratelimit-limit-requests" in answer.headers) == (200, False)

    async def test_spoofed_forwarding_headers_change_nothing(self, apis: Apis) -> None:
        tenant = await apis.tenant(per_minute=3)
        codes = []
        for number in range(5):
            spoofed = {
                "x-forwarded-for": f"10.0.0.{number}",
                "forwarded": f"for=10.0.0.{number}",
                "x-real-ip": f"10.0.0.{number}",
            }
            async with apis.http(tenant, headers=spoofed) as http:
                codes.append((await http.get("/files")).status_code)
        assert codes == [200] * 3 + [429] * 2

    async def test_inference_is_limited_by_requests_and_tokens_of_its_model(self, apis: Apis) -> None:
        """The upstream is unavailable here, so admitted requests get 503."""
        tenant = await apis.tenant()
        await apis.limit(tenant, 2, model="gpt-4o-mini-2024-07-18", tokens=1000)
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 400}], "max_tokens": 10}
        async with apis.http(tenant) as http:
            first = await http.post("/chat/completions", json=body)
            assert first.headers["x-ratelimit-limit-tokens"] == "1000"
            assert 880 <= int(first.headers["x-ratelimit-remaining-tokens"]) <= 890
            assert first.headers["x-ratelimit-limit-requests"] == "2", "the limit that is nearest"
            long = await http.post("/chat/completions", json={**body, "max_tokens": 950})
            assert (long.status_code, refusal(long)["code"]) == (429, "rate_limit_exceeded")
            assert long.headers["x-should-retry"] == "false", "no minute has that many"
            assert (await http.post("/chat/completions", json=body)).status_code != 429
            assert (await http.post("/chat/completions", json=body)).status_code == 429
            assert (await http.get("/files")).status_code == 200, "nothing else is held up"


class TestTheSdk:
    async def test_it_waits_for_retry_after_and_succeeds(self, apis: Apis) -> None:
        tenant = await apis.tenant(per_minute=2)
        client = openai.AsyncOpenAI(base_url=apis.base_urls[0], api_key=tenant.key, max_retries=2)
        await client.files.list()
        await client.files.list()
        began = time.monotonic()
        await self.let_the_window_end(apis, tenant, in_seconds=4)
        await client.files.list()
        assert time.monotonic() - began > 3, "it was told how long to wait, and was admitted then"
        await client.close()

    async def let_the_window_end(self, apis: Apis, tenant: Tenant, *, in_seconds: int) -> None:
        """Let time pass for one counter, whose window is over when a minute of its life is left."""
        async with redis.asyncio.Redis.from_url(apis.redis.valkey.url) as connection:
            [key] = [key async for key in connection.scan_iter(f"*{tenant.project_id}*")]
            await connection.expire(key, 60 + in_seconds)


class TestGuessing:
    async def test_wrong_keys_are_slowed_down_and_no_good_one_is_refused(self, apis: Apis) -> None:
        tenant, max_failures = await apis.tenant(), apis.settings.failed_keys_per_minute
        async with apis.http(tenant) as http:
            assert (await http.get("/files")).status_code == 200
            codes = Counter[int]()
            while codes[429] < 8:  # a window may end on the way
                headers = {"authorization": f"Bearer {new_key('project')}", "x-forwarded-for": f"10.0.0.{codes[401]}"}
                refused = await http.get("/files", headers=headers)
                codes[refused.status_code] += 1
                assert codes[401] < 3 * max_failures
            assert codes[401] >= max_failures
            assert refusal(refused)["code"] == "rate_limit_exceeded"
            assert "TUNEGATE_FAILED_KEYS_PER_MINUTE" in refusal(refused)["message"]
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert (await http.get("/files")).status_code == 200, "its key has worked before"
            newcomer = await apis.tenant()
            first = await http.get("/files", headers={"authorization": f"Bearer {newcomer.key}"})
            assert first.status_code == 200, "its key was never used before"
            missing = await http.get("/files", headers={"authorization": ""})
            assert (missing.status_code, refusal(missing)["code"]) == (401, "missing_api_key")


class TestWithoutRedis:
    async def test_killed_on_the_way_nothing_is_refused_and_nothing_waits(self, apis: Apis) -> None:
        tenant = await apis.tenant(per_minute=3)
        async with apis.http(tenant) as http:
            assert [(await http.get("/files")).status_code for _ in range(4)] == [200] * 3 + [429]
            before = await apis.unavailable()
            apis.redis.kill()
            answers = [await http.get("/files") for _ in range(20)]
            assert {answer.status_code for answer in answers} == {200}
            assert all("x-ratelimit-limit-requests" not in answer.headers for answer in answers)
            assert await apis.unavailable() == before + 20
            apis.redis.start()
            await _until(partial(_counted, http))

    async def test_a_redis_that_hangs_costs_a_few_requests_50_ms_and_the_others_nothing(self, apis: Apis) -> None:
        """Counted at Redis once it goes on, for on a busy machine anything takes 50 ms: it was asked a few times."""
        tenant = await apis.tenant()
        async with apis.http(tenant, process=AS_IN_PRODUCTION) as http:
            for _ in range(5):
                await http.get("/files")
            before, asked = await apis.unavailable(AS_IN_PRODUCTION), await apis.asked_of_redis()
            apis.redis.send(signal.SIGSTOP)
            times = []
            for _ in range(30):
                began = time.monotonic()
                assert (await http.get("/files")).status_code == 200
                times.append(time.monotonic() - began)
            assert await apis.unavailable(AS_IN_PRODUCTION) >= before + 25
            apis.redis.send(signal.SIGCONT)
            assert await apis.asked_of_redis() - asked <= 15
            assert sorted(times)[4] < RESPONSE_SECONDS, "the circuit is open"
            await _until(partial(_counted, http))

    async def test_without_a_url_each_process_counts_alone(self) -> None:
        limiter = RateLimiter("")
        verdicts = [await limiter.take("x", per_minute=2) for _ in range(3)]
        assert [verdict.retry_after_seconds is None for verdict in verdicts if verdict] == [True, True, False]
        await limiter.close()


def test_a_connection_that_ends_during_a_write_counts_as_an_unavailable_redis(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the event loop of the processes, whose word for it is `RuntimeError`. redis-py lets it out."""
    url = servers.valkey.url
    check: Any = redis.asyncio.Connection.can_read_destructive

    async def check_and_end(connection: Any) -> Any:
        found = await check(connection)
        connection._writer.transport.abort()
        return found

    async def act() -> None:
        limiter, wakeups = RateLimiter(url), Wakeups(url)
        try:
            assert await wakeups.ping()
            await limiter.warm()  # a connection may take longer to open than a limit waits for a response
            assert await limiter.take("closed", per_minute=10) is not None
            with monkeypatch.context() as patched:
                patched.setattr(redis.asyncio.Connection, "can_read_destructive", check_and_end)
                assert await limiter.take("closed", per_minute=10) is None
                assert not await wakeups.ping()
            assert await wakeups.ping()
        finally:
            await limiter.close()
            await wakeups.close()

    uvloop.run(act())


class TestRules:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0ms"),
            (0.006, "6ms"),
            (0.9996, "1s"),
            (1.5, "1.5s"),
            (59.25, "59.25s"),
            (60, "1m0s"),
            (119.999, "1m59.999s"),
            (3600, "1h0m0s"),
        ],
    )
    def test_durations_are_written_as_openai_writes_them(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text
        assert DURATION.match(text)

    @given(
        limit=st.integers(1, 50),
        previous=st.integers(0, 50),
        fades=st.floats(0.1, 60),
        current=st.integers(0, 50),
        cost=st.integers(1, 50),
    )
    def test_after_the_wait_there_is_room_and_not_much_before(
        self, limit: int, previous: int, fades: float, current: int, cost: int
    ) -> None:
        """Played forward as the counter's script does: the current window becomes the one before."""
        cost = min(cost, limit)
        window = Window(previous=previous, previous_fades_in=fades, current=min(current, limit), current_ends_in=fades)

        def later(seconds: float) -> Window:
            if seconds < window.current_ends_in:
                return dataclasses.replace(window, previous_fades_in=max(0.0, fades - seconds))
            faded = max(0.0, window.current_ends_in + 60 - seconds)
            return Window(previous=window.current, previous_fades_in=faded, current=0, current_ends_in=0)

        wait = window.room_in_seconds(limit, cost)
        assert later(wait + 0.001).remaining(limit) >= cost
        assert wait <= 120
        if wait > 0.01:
            assert later(wait - 0.01).remaining(limit) < cost

    def test_estimated_tokens(self) -> None:
        picture = {"type": "image_url", "image_url": {"url": "data:" + "x" * 100_000}}
        words = {"type": "text", "text": "x" * 36}
        assert estimated_tokens({"prompt": "x" * 40}) == 10
        assert estimated_tokens({"prompt": [1, 2, 3], "max_tokens": 7, "n": 2}) == 17
        assert estimated_tokens({"messages": [{"role": "user", "content": [picture, words]}]}) < 20
        assert estimated_tokens({"messages": "x" * 4, "max_completion_tokens": 100, "max_tokens": 5}) == 101
        assert estimated_tokens({"messages": None, "n": "many", "max_tokens": "all"}) == 0

    async def test_the_library_has_what_is_used_of_it(self) -> None:
        """The storages are asked directly, below the library's strategies, so that a changed limit keeps its count."""
        assert {"acquire_sliding_window_entry", "get_sliding_window"} <= set(dir(MemoryStorage))


async def _counted(http: httpx2.AsyncClient) -> bool:
    return "x-ratelimit-limit-requests" in (await http.get("/files")).headers


async def _until(condition: Any) -> None:
    deadline = time.monotonic() + SECONDS
    while not await condition():
        assert time.monotonic() < deadline, "Redis is not used again"
        await asyncio.sleep(0.1)
