"""Network faults on each link: to Postgres, Redis, the upstream and the receiver of webhooks.

One deployment serves all tests. Each injects one fault into one link while a job is under way and another comes in, and
then removes it: no process is restarted, so everything has to recover by itself.
"""

import asyncio
import dataclasses
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import pytest_asyncio
import yaml

from service.identity.bootstrap import create_key
from service.monitoring.readiness import READY_SECONDS, REUSED_SECONDS
from tests.faults.callers import Caller, CallLog
from tests.faults.chaos import drained
from tests.faults.harness import FaultHarness, open_fault_harness
from tests.faults.invariants import check_invariants
from tests.faults.proxy import NetworkFault, Proxy
from tests.stack import ROOT

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("links"),
    pytest.mark.timeout(400),
    pytest.mark.faults,
]

LASTS_SECONDS, FULL_LASTS_SECONDS = 0.7, 2.0
"""How long a fault lasts, shortly and in `make test-faults`."""

CLEAR_UP_SECONDS = 90.0
STEP_SECONDS = 0.4
"""How long an upstream job is queued, then runs."""

ANSWER_SECONDS = 40.0
"""Whatever Postgres does, a caller has an answer by then."""

SLACK_SECONDS = 10.0
"""How long a busy machine may stand still."""

FLAPS_SECONDS, FULL_FLAPS_SECONDS = 4.0, 10.0
ASKERS = 8
ROUTES = [
    (method.upper(), path)
    for path, operations in yaml.load((ROOT / "openapi.yaml").read_text(), Loader=yaml.CSafeLoader)["paths"].items()
    for method in operations
    if not path.endswith("/stream")
]

NETWORK_FAULTS = {
    "latency": NetworkFault("latency", seconds=0.1),
    "slow": NetworkFault("slow", bytes_per_second=4096),
    "black hole": NetworkFault("black hole"),
    "cut": NetworkFault("cut"),
    "reset": NetworkFault("reset"),
    "refuse": NetworkFault("refuse"),
}
LINKS = ("postgres", "redis", "upstream", "receiver")


@dataclass
class Linked:
    """A deployment whose four links go through proxies."""

    harness: FaultHarness
    proxies: dict[str, Proxy]
    caller: Caller
    call_log: CallLog
    number: int = 1

    async def submit(self) -> None:
        """One more job; it comes back when the API has accepted it."""
        self.number += 1
        chance = random.Random(self.number)
        await self.caller.submit(self.number, chance)

    async def inject(self, link: str, fault: NetworkFault) -> None:
        """Injects a fault into a link; one without a name removes it."""
        await asyncio.to_thread(self.proxies[link].change, fault)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def linked() -> AsyncIterator[Linked]:
    async with open_fault_harness(poll_seconds=0.5, requests_per_minute=1_000_000) as harness, AsyncExitStack() as held:
        ports = {
            "postgres": urlsplit(harness.settings.database_url).port,
            "redis": urlsplit(harness.settings.redis_url).port,
            "upstream": urlsplit(harness.settings.upstream_base_url).port,
            "receiver": harness.receiver.port,
        }
        proxies: dict[str, Proxy] = {}
        for link, port in ports.items():
            proxies[link] = Proxy(port or 0)
            held.callback(proxies[link].stop)
        harness.settings = dataclasses.replace(
            harness.settings,
            **{
                name: getattr(harness.settings, name).replace(f":{ports[link]}/", f":{proxies[link].port}/")
                for link, name in (
                    ("postgres", "database_url"),
                    ("redis", "redis_url"),
                    ("upstream", "upstream_base_url"),
                )
            },
        )
        harness.receiver.shown_port = proxies["receiver"].port
        harness.upstream.configure(terse=True, step_seconds=STEP_SECONDS)
        harness.new_api().start()
        harness.new_worker().start()
        await harness.serving()
        call_log = CallLog()
        caller = Caller(harness, await harness.new_tenant("0"), call_log)
        held.push_async_callback(caller.close)
        await caller.new_file("base")
        yield Linked(harness, proxies, caller, call_log)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("name", NETWORK_FAULTS)
async def test_everything_recovers_by_itself(linked: Linked, link: str, name: str, full: bool) -> None:
    harness = linked.harness
    await linked.submit()
    await linked.inject(link, NETWORK_FAULTS[name])
    try:
        during = asyncio.create_task(linked.submit())
        begun = time.monotonic()
        if link == "postgres":
            await _answers_in_time(harness, dark=name in ("black hole", "cut", "reset", "refuse"))
        elif link == "redis":
            await _redis_is_only_call_log(harness, dark=name in ("black hole", "cut", "reset", "refuse"))
        await asyncio.sleep(max(0.0, (FULL_LASTS_SECONDS if full else LASTS_SECONDS) - (time.monotonic() - begun)))
    finally:
        await linked.inject(link, NetworkFault())
    await harness.serving()
    await during
    await drained(harness, CLEAR_UP_SECONDS)
    verdict = await check_invariants(harness, linked.call_log.accepted, once=linked.call_log.once)
    assert verdict.forbidden() == {}, verdict.table()
    assert linked.call_log.statuses[500] == 0, harness.defects()
    assert harness.defects() == []


async def test_no_route_answers_500_while_links_come_and_go(linked: Linked, full: bool) -> None:
    """Every route is asked, some with nonsense: whatever a link does, the answer is never 500."""
    harness, statuses = linked.harness, Counter[int]()
    ends_at = time.monotonic() + (FULL_FLAPS_SECONDS if full else FLAPS_SECONDS)
    keys = (harness.tenants[0].key, await create_key(harness.settings, kind="admin", name="flapping"))

    async def ask(chance: random.Random) -> None:
        async with httpx2.AsyncClient(base_url=harness.root_url, timeout=ANSWER_SECONDS) as http:
            while time.monotonic() < ends_at:
                method, path = chance.choice(ROUTES)
                headers = {"authorization": f"Bearer {chance.choice(keys)}"}
                answer = await http.request(method, re.sub("{.*?}", "unknown", path), headers=headers, json={})
                statuses[answer.status_code] += 1

    async def flap(link: str, chance: random.Random) -> None:
        while time.monotonic() < ends_at:
            await linked.inject(link, NETWORK_FAULTS[chance.choice(("cut", "reset", "refuse"))])
            await asyncio.sleep(chance.uniform(0, 0.3))
            await linked.inject(link, NetworkFault())
            await asyncio.sleep(chance.uniform(0, 1.5))

    flapping = (flap(link, random.Random(link)) for link in ("postgres", "redis"))
    await asyncio.gather(*flapping, *(ask(random.Random(number)) for number in range(ASKERS)))
    await harness.serving()
    assert {503, 404, 400} <= set(statuses)
    assert harness.defects() == []


async def _answers_in_time(harness: FaultHarness, *, dark: bool) -> None:
    """With Postgres away: 503 in the shape of an error within a bounded time, `/readyz` says so, `/livez` lives."""
    await asyncio.sleep(REUSED_SECONDS)  # an earlier result is used for this time
    headers = {"authorization": f"Bearer {harness.tenants[0].key}"}
    async with httpx2.AsyncClient(base_url=harness.root_url, headers=headers, timeout=ANSWER_SECONDS) as http:
        alive, ready, *answers = await asyncio.gather(
            _timed(http, "/livez"),
            _timed(http, "/readyz"),
            *(_timed(http, "/v1/fine_tuning/jobs?limit=1") for _ in range(5)),
        )
    assert alive[0].status_code == 200
    assert alive[1] < SLACK_SECONDS
    assert ready[1] < READY_SECONDS + SLACK_SECONDS
    if not dark:
        assert {answer.status_code for answer, _ in answers} == {200}
        return
    assert ready[0].status_code == 503, ready[0].text
    assert ready[0].json()["database"].startswith("unavailable")
    assert {answer.status_code for answer, _ in answers} <= {200, 503}, "200 where a connection was still good"
    for answer, _ in answers:
        if answer.status_code == 503:
            assert answer.json()["error"]["code"] == "service_unavailable"
            assert answer.headers["retry-after"]


async def _redis_is_only_call_log(harness: FaultHarness, *, dark: bool) -> None:
    await asyncio.sleep(REUSED_SECONDS)
    async with httpx2.AsyncClient(base_url=harness.root_url, timeout=ANSWER_SECONDS) as http:
        ready = (await http.get("/readyz")).json()
    if dark:
        assert (ready["status"], ready["redis"]) == ("degraded", "unavailable")


async def _timed(http: httpx2.AsyncClient, path: str) -> tuple[Any, float]:
    begun = time.monotonic()
    return await http.get(path), time.monotonic() - begun
