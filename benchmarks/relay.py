"""`python -m benchmarks.relay [--seconds 6] [--rounds 3] [--litellm PATH]`: chat through the gateway against a bare relay.

An upstream answers at once. The bare relay is a Litestar route that reads the JSON, posts it with a shared httpx2
client and returns the bytes; it runs with the same options of uvicorn. They are measured in turns, with one caller and
sixteen, of one project and of eight. `unmetered` is the gateway without its meter, `naive` with a transaction for each
reservation and each posting. LiteLLM's proxy is measured where the path of its executable is given. Every answer is
checked, and the ledger at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import pstats
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import func, select

from benchmarks.load import Load, LoadGenerator, request_bytes
from benchmarks.relay_ways import (
    LITELLM_KEY,
    MODELS,
    STREAMED,
    Naive,
    Unmetered,
    bare_relay,
    gateway,
    litellm_proxy,
    upstream,
)
from benchmarks.servers import Served, memory_mb, migrated_database, postgres_cpu_seconds, running_api, running_app
from service.billing.audit import ledger_snapshot, prove
from service.billing.ledger_batcher import LedgerBatcher
from service.database.engine import Database, create_engine
from service.database.tables import LedgerEntry
from service.settings import Settings
from service.wakeups import Wakeups
from tests.stack import Servers
from tests.wire import Tenant, make_tenant

CALLERS = (1, 16)
PROJECTS = 8


@dataclass(slots=True)
class Cell:
    """What was measured of one way with one number of callers and projects."""

    loads: list[Load] = field(default_factory=list)
    cpu_seconds: float = 0.0
    postgres_seconds: float = 0.0

    @property
    def answers(self) -> int:
        """How many answers came, over all rounds."""
        return sum(load.answers for load in self.loads)

    @property
    def per_second(self) -> float:
        """The median of the rounds."""
        return statistics.median(load.per_second for load in self.loads)

    def line(self, bare: Cell) -> str:
        """The row of the table."""
        p50, p99 = (statistics.median(getattr(load, name) for load in self.loads) for name in ("p50_ms", "p99_ms"))
        cpu, postgres = (1000 * each / self.answers for each in (self.cpu_seconds, self.postgres_seconds))
        ratio = statistics.median(
            mine.per_second / other.per_second for mine, other in zip(self.loads, bare.loads, strict=True)
        )
        return f"{self.per_second:>9.0f} {ratio:>7.2f} {p50:>9.1f} {p99:>9.1f} {cpu:>9.2f} {postgres:>9.2f}"


HEAD = f"{'calls/s':>9} {'of bare':>7} {'p50 ms':>9} {'p99 ms':>9} {'CPU ms':>9} {'Postgres':>9}"


def requests_of(url: str, keys: Sequence[str], *, model: str = MODELS[0], stream: bool = False) -> list[bytes]:
    """One request for each key, of a short conversation."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You answer questions about rivers in one short sentence."},
            {"role": "user", "content": "How long is the river Rhine, and where does it end?"},
        ],
        "max_tokens": 200,
    }
    content = msgspec.json.encode({**body, "stream": True} if stream else body)
    headers = {"content-type": "application/json"}
    return [
        request_bytes("POST", f"{url}/v1/chat/completions", {"authorization": f"Bearer {key}", **headers}, content)
        for key in keys
    ]


class Rounds:
    """Measures ways in turns."""

    def __init__(self, load: LoadGenerator, servers: Servers, *, seconds: float, rounds: int) -> None:
        self._load, self._servers, self._seconds, self._rounds = load, servers, seconds, rounds

    def compare(
        self, ways: dict[str, Served], keys: Sequence[str], *, callers: int, stream: bool = False
    ) -> dict[str, Cell]:
        """Every way in each round; the first is the bare relay."""
        cells = {way: Cell() for way in ways}
        for _ in range(self._rounds):
            for way, served in ways.items():
                own = [LITELLM_KEY] if way == "litellm" else keys
                before, before_postgres = served.cpu_seconds(), postgres_cpu_seconds(self._servers)
                cells[way].loads.append(
                    self._load.run(
                        served.url,
                        requests_of(served.url, own, stream=stream),
                        callers=callers,
                        seconds=self._seconds / self._rounds,
                    )
                )
                cells[way].cpu_seconds += served.cpu_seconds() - before
                cells[way].postgres_seconds += postgres_cpu_seconds(self._servers) - before_postgres
        return cells


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _memory(api: Served) -> str:
    """The memory of the API's process, and of the processes that it started."""
    pid = api.pids[0]
    return ", ".join([f"API {memory_mb(pid):.0f} MB", *(f"child {memory_mb(each):.0f} MB" for each in _children(pid))])


async def _tenants(url: str, database_url: str) -> list[Tenant]:
    return [await make_tenant(url, database_url) for _ in range(PROJECTS)]


async def _check_books(settings: Settings, expected: int) -> None:
    db = Database(create_engine(settings.database_url, pool_size=1), Wakeups(""))
    usage = select(func.count()).select_from(LedgerEntry)
    async with db.worker() as session:
        posted = await session.scalar(
            usage.where(LedgerEntry.kind == "post", LedgerEntry.basis == "usage", LedgerEntry.input_tokens == 11)
        )
    await db.close()
    async with ledger_snapshot(settings.database_url) as session:
        proof = await prove(session)
    verdict = "balance" if proof.consistent else "DO NOT BALANCE"
    print(f"\n{expected:,} metered calls, {posted:,} posted by their usage; the books {verdict}")
    assert posted == expected
    assert proof.consistent


def _print_profile(path: str) -> None:
    shares: dict[str, float] = {}
    stats: Any = pstats.Stats(path)
    for (file, _, name), (_, _, own, _, _) in stats.stats.items():
        shares[_package(file, name)] = shares.get(_package(file, name), 0.0) + own
    total = sum(shares.values())
    print("\nOwn time in the API's process by package, of a profile (which makes Python slower than C):")
    for package, seconds in sorted(shares.items(), key=lambda each: -each[1])[:14]:
        print(f"  {seconds / total:>6.1%}  {package}")


def _package(file: str, name: str) -> str:
    if file == "~":
        return "built-in functions: " + ("select/poll" if "poll" in name else "all")
    parts = Path(file).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    if "service" in parts:
        return ".".join(parts[parts.index("service") :][:2])
    return "standard library: " + Path(file).stem


def _table(title: str, cells: dict[str, Cell], bare: str = "bare") -> None:
    print(f"\n{title}\n{'':>12} {HEAD}")
    for way, cell in cells.items():
        print(f"{way:>12} {cell.line(cells[bare])}", flush=True)


def _measure(
    load: LoadGenerator, answers: Served, servers: Servers, settings: Settings, options: argparse.Namespace
) -> None:
    rounds = Rounds(load, servers, seconds=options.seconds, rounds=options.rounds)
    metered = 0
    with (
        running_api(settings) as api,
        running_app(bare_relay, f"{answers.url}/v1") as bare,
        running_app(gateway, settings, Unmetered) as unmetered,
        running_app(gateway, settings, Naive) as naive,
    ):
        print(f"memory after start: {_memory(api)}")
        keys = [each.key for each in asyncio.run(_tenants(f"{api.url}/v1", settings.database_url))]
        ways = {"bare": bare, "metered": api, "unmetered": unmetered, "naive": naive}
        for model in MODELS:
            metered += load.run(api.url, requests_of(api.url, keys, model=model), callers=4, seconds=1).answers
        print(f"after chat of both encodings: {_memory(api)}")
        for callers in CALLERS:
            for projects in (1, PROJECTS) if callers > 1 else (1,):
                cells = rounds.compare(ways, keys[:projects], callers=callers)
                metered += cells["metered"].answers + cells["naive"].answers
                _table(f"{callers} callers of {projects} projects", cells)
        cells = rounds.compare({"bare": bare, "metered": api}, keys, callers=CALLERS[-1], stream=True)
        metered += cells["metered"].answers
        _table(f"streams of {STREAMED} events, {CALLERS[-1]} callers of {PROJECTS} projects", cells)
        print(f"events a second: {', '.join(f'{way} {STREAMED * c.per_second:,.0f}' for way, c in cells.items())}")
        if options.litellm:
            with litellm_proxy(options.litellm, answers.url) as litellm:
                compared = rounds.compare({"bare": bare, "metered": api, "litellm": litellm}, keys, callers=CALLERS[-1])
            metered += compared["metered"].answers
            _table(f"{CALLERS[-1]} callers of {PROJECTS} projects", compared)
            print(f"metered : litellm = {compared['metered'].per_second / compared['litellm'].per_second:.1f}")
        print(f"memory at the end: {_memory(api)}")
    with tempfile.TemporaryDirectory() as folder:
        profile = f"{folder}/profile"
        with running_app(gateway, settings, LedgerBatcher, profile) as profiled:
            requests = requests_of(profiled.url, keys)
            metered += load.run(profiled.url, requests, callers=CALLERS[-1], seconds=options.seconds).answers
        _print_profile(profile)
    asyncio.run(_check_books(settings, metered))


def main() -> None:
    """Start everything, measure, stop everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=6.0, help="for each row of the tables")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--litellm", help="path of LiteLLM's executable, to compare with it")
    options = parser.parse_args()
    load = LoadGenerator()
    try:
        with running_app(upstream) as answers:
            settings_of = {"upstream_base_url": f"{answers.url}/v1"}
            with migrated_database(**settings_of) as (servers, settings):
                _measure(load, answers, servers, settings, options)
    finally:
        load.stop()


if __name__ == "__main__":
    main()
