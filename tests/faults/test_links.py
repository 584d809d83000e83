"""Bad weather on each link: between us and Postgres, Redis, the upstream and the receiver of webhooks.

One site for all of them. Each test puts one kind of weather on one link while a job is under way and another comes in,
and then lets it clear up: nothing is started again, so everything has to recover by itself.
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

from service.health import READY_SECONDS
from service.identity.bootstrap import create_key
from tests.faults.callers import Caller, Told
from tests.faults.chaos import drained
from tests.faults.harness import Site, open_site
from tests.faults.invariants import judge
from tests.faults.proxy import Proxy, Weather
from tests.stack import ROOT

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("links"), pytest.mark.timeout(400)]

LASTS_SECONDS = 2.0
CLEAR_UP_SECONDS = 90.0
ANSWER_SECONDS = 40.0
"""Whatever Postgres does, a caller has an answer by then."""

SLACK_SECONDS = 10.0
"""How long a busy machine may stand still."""

FLAPS_SECONDS = 10.0
ASKERS = 8
ROUTES = [
    (method.upper(), path)
    for path, operations in yaml.safe_load((ROOT / "openapi.yaml").read_text())["paths"].items()
    for method in operations
    if not path.endswith("/stream")
]

WEATHERS = {
    "latency": Weather("latency", seconds=0.1),
    "slow": Weather("slow", bytes_per_second=4096),
    "black hole": Weather("black hole"),
    "cut": Weather("cut"),
    "reset": Weather("reset"),
    "refuse": Weather("refuse"),
}
LINKS = ("postgres", "redis", "upstream", "receiver")


@dataclass
class Linked:
    """A site whose four links go through proxies."""

    site: Site
    proxies: dict[str, Proxy]
    caller: Caller
    told: Told
    number: int = 1

    async def submit(self) -> None:
        """One more job; it comes back when the API has accepted it."""
        self.number += 1
        chance = random.Random(self.number)
        await self.caller.submit(self.number, chance)

    async def weather(self, link: str, weather: Weather) -> None:
        """Change the weather on a link."""
        await asyncio.to_thread(self.proxies[link].change, weather)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def linked() -> AsyncIterator[Linked]:
    async with open_site(poll_seconds=0.5, requests_per_minute=1_000_000) as site, AsyncExitStack() as held:
        ports = {
            "postgres": urlsplit(site.settings.database_url).port,
            "redis": urlsplit(site.settings.redis_url).port,
            "upstream": urlsplit(site.settings.upstream_base_url).port,
            "receiver": site.receiver.port,
        }
        proxies: dict[str, Proxy] = {}
        for link, port in ports.items():
            proxies[link] = Proxy(port or 0)
            held.callback(proxies[link].stop)
        site.settings = dataclasses.replace(
            site.settings,
            **{
                name: getattr(site.settings, name).replace(f":{ports[link]}/", f":{proxies[link].port}/")
                for link, name in (
                    ("postgres", "database_url"),
                    ("redis", "redis_url"),
                    ("upstream", "upstream_base_url"),
                )
            },
        )
        site.receiver.shown_port = proxies["receiver"].port
        site.new_api().start()
        site.new_worker().start()
        await site.serving()
        told = Told()
        caller = Caller(site, await site.new_tenant("0"), told)
        held.push_async_callback(caller.close)
        await caller.new_file("base")
        yield Linked(site, proxies, caller, told)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("name", WEATHERS)
async def test_everything_recovers_by_itself(linked: Linked, link: str, name: str) -> None:
    site = linked.site
    await linked.submit()
    await linked.weather(link, WEATHERS[name])
    try:
        during = asyncio.create_task(linked.submit())
        begun = time.monotonic()
        if link == "postgres":
            await _answers_in_time(site, dark=name in ("black hole", "cut", "reset", "refuse"))
        elif link == "redis":
            await _redis_is_only_told(site, dark=name in ("black hole", "cut", "reset", "refuse"))
        await asyncio.sleep(max(0.0, LASTS_SECONDS - (time.monotonic() - begun)))
    finally:
        await linked.weather(link, Weather())
    await site.serving()
    await during
    await drained(site, CLEAR_UP_SECONDS)
    verdict = await judge(site, linked.told.accepted, once=linked.told.once)
    assert verdict.forbidden() == {}, verdict.table()
    assert linked.told.statuses[500] == 0, site.defects()
    assert site.defects() == []


async def test_no_route_takes_it_for_a_defect_of_ours_while_links_come_and_go(linked: Linked) -> None:
    """Every route is asked, some with nonsense: whatever a link does, the answer is never 500."""
    site, statuses, ends_at = linked.site, Counter[int](), time.monotonic() + FLAPS_SECONDS
    keys = (site.tenants[0].key, await create_key(site.settings, kind="admin", name="flapping"))

    async def ask(chance: random.Random) -> None:
        async with httpx2.AsyncClient(base_url=site.root_url, timeout=ANSWER_SECONDS) as http:
            while time.monotonic() < ends_at:
                method, path = chance.choice(ROUTES)
                headers = {"authorization": f"Bearer {chance.choice(keys)}"}
                answer = await http.request(method, re.sub("{.*?}", "unknown", path), headers=headers, json={})
                statuses[answer.status_code] += 1

    async def flap(link: str, chance: random.Random) -> None:
        while time.monotonic() < ends_at:
            await linked.weather(link, WEATHERS[chance.choice(("cut", "reset", "refuse"))])
            await asyncio.sleep(chance.uniform(0, 0.3))
            await linked.weather(link, Weather())
            await asyncio.sleep(chance.uniform(0, 1.5))

    flapping = (flap(link, random.Random(link)) for link in ("postgres", "redis"))
    await asyncio.gather(*flapping, *(ask(random.Random(number)) for number in range(ASKERS)))
    await site.serving()
    assert {503, 404, 400} <= set(statuses)
    assert site.defects() == []


async def _answers_in_time(site: Site, *, dark: bool) -> None:
    """With Postgres away: 503 in the shape of an error within a bounded time, `/readyz` says so, `/livez` lives."""
    headers = {"authorization": f"Bearer {site.tenants[0].key}"}
    async with httpx2.AsyncClient(base_url=site.root_url, headers=headers, timeout=ANSWER_SECONDS) as http:
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


async def _redis_is_only_told(site: Site, *, dark: bool) -> None:
    async with httpx2.AsyncClient(base_url=site.root_url, timeout=ANSWER_SECONDS) as http:
        ready = (await http.get("/readyz")).json()
    if dark:
        assert (ready["status"], ready["redis"]) == ("degraded", "unavailable")


async def _timed(http: httpx2.AsyncClient, path: str) -> tuple[Any, float]:
    begun = time.monotonic()
    return await http.get(path), time.monotonic() - begun
