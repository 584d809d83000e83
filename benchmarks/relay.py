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
import cProfile
import os
import pstats
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from litestar import Litestar, Request, Response, post
from litestar.response import Stream
from sqlalchemy import func, select

from benchmarks.load import Load, LoadGenerator, request_bytes
from benchmarks.servers import Served, cpu_seconds, memory_mb, migrated_database, running_api, running_app
from service.billing import ledger_batcher
from service.billing.actions import Actual
from service.billing.audit import ledger_snapshot, prove
from service.billing.ledger_batcher import Call, LedgerBatcher
from service.database.engine import Database, create_engine
from service.database.tables import LedgerEntry
from service.settings import Settings
from service.wakeups import Wakeups
from tests.wire import Tenant, make_tenant

MODELS = ("gpt-4o-mini", "gpt-3.5-turbo")
"""One of each encoding."""

CALLERS = (1, 16)
PROJECTS = 8
STREAMED = 50
"""Events of a streamed answer."""

WARM_UP_REQUESTS = 64
"""Requests before the profile begins."""

PROMPT_TOKENS = 11
LITELLM_KEY = "sk-benchmark"
USAGE = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": 1, "total_tokens": PROMPT_TOKENS + 1}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": MODELS[0],
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
CHUNK = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": MODELS[0],
    "choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}],
}


def upstream() -> Any:
    """An upstream that answers at once, with a stream where the body asks for one."""
    whole = msgspec.json.encode(ANSWER)
    last = {**CHUNK, "choices": [], "usage": USAGE}
    events = [b"data: " + msgspec.json.encode(each) + b"\n\n" for each in (*[CHUNK] * STREAMED, last)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        streamed = b'"stream":true' in body
        kind = b"text/event-stream" if streamed else b"application/json"
        size = [] if streamed else [(b"content-length", str(len(whole)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind), *size]})
        if streamed:
            for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
        else:
            await send({"type": "http.response.body", "body": whole})

    return app


def bare_relay(base_url: str) -> Any:
    """What a relay costs that does nothing else."""
    client = httpx2.AsyncClient(base_url=base_url, headers={"authorization": "Bearer none"}, timeout=60)

    @post("/v1/chat/completions", status_code=200)
    async def relay(request: Request[Any, Any, Any]) -> Response[bytes] | Stream:
        body = await request.json()
        sent = client.build_request("POST", "/chat/completions", json=body)
        if body.get("stream"):
            answer = await client.send(sent, stream=True)
            return Stream(answer.aiter_bytes(), media_type="text/event-stream")
        return Response((await client.send(sent)).content, media_type="application/json")

    return Litestar([relay], openapi_config=None, logging_config=None)


class Unmetered(LedgerBatcher):
    """Admits every call and records nothing."""

    async def reserve(self, project_id: str, call: Call) -> bool:
        """Admit it."""
        return True

    async def settle(self, project_id: str, actual: Actual) -> None:
        """Nothing to post."""


class Naive(LedgerBatcher):
    """A transaction for each reservation and each posting, as one would write it first."""

    async def _submit(self, project_id: str, subject: Call | Actual) -> bool:
        operation = ledger_batcher._Operation(project_id, subject)
        await self._commit_or_fail(project_id, [operation])
        return await operation.result


def gateway(settings: Settings, batcher: type[LedgerBatcher], profile: str | None = None) -> Any:
    """The gateway with another ledger batcher; with `profile`, everything between start and end is profiled."""
    from service import services as composition
    from service.app import create_app

    vars(composition)["LedgerBatcher"] = batcher
    app = create_app(settings)
    return app if profile is None else _profiled(app, profile)


def _profiled(app: Any, path: str) -> Any:
    profiler = cProfile.Profile(time.process_time)
    requests = 0

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        nonlocal requests
        if scope["type"] == "http":
            requests += 1
            if requests == WARM_UP_REQUESTS:
                profiler.enable()
            await app(scope, receive, send)
            return

        async def observed() -> Any:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                profiler.disable()
                profiler.dump_stats(path)
            return message

        await app(scope, observed, send)

    return wrapped


@contextmanager
def litellm_proxy(executable: str, upstream_url: str) -> Iterator[Served]:
    """LiteLLM's proxy before the upstream, in one process."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
        chosen.close()
        config = Path(folder) / "config.yaml"
        model = {"model": f"openai/{MODELS[0]}", "api_base": f"{upstream_url}/v1", "api_key": "none"}
        config.write_bytes(
            msgspec.json.encode(
                {
                    "model_list": [{"model_name": MODELS[0], "litellm_params": model}],
                    "general_settings": {"master_key": LITELLM_KEY},
                }
            )
        )
        command = [executable, "--config", str(config), "--port", str(port), "--num_workers", "1"]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"LITELLM_LOG": "ERROR"})
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                try:
                    if httpx2.get(f"{url}/health/liveliness").status_code == 200:
                        break
                except httpx2.HTTPError:
                    time.sleep(0.2)
            else:
                raise SystemExit((Path(folder) / "log").read_text())
            yield Served(url, (process.pid,))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


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

    def __init__(self, load: LoadGenerator, postgres: int, *, seconds: float, rounds: int) -> None:
        self._load, self._postgres, self._seconds, self._rounds = load, postgres, seconds, rounds

    def compare(
        self, ways: dict[str, Served], keys: Sequence[str], *, callers: int, stream: bool = False
    ) -> dict[str, Cell]:
        """Every way in each round; the first is the bare relay."""
        cells = {way: Cell() for way in ways}
        for _ in range(self._rounds):
            for way, served in ways.items():
                own = [LITELLM_KEY] if way == "litellm" else keys
                before, before_postgres = served.cpu_seconds(), _tree_seconds(self._postgres)
                cells[way].loads.append(
                    self._load.run(
                        served.url,
                        requests_of(served.url, own, stream=stream),
                        callers=callers,
                        seconds=self._seconds / self._rounds,
                    )
                )
                cells[way].cpu_seconds += served.cpu_seconds() - before
                cells[way].postgres_seconds += _tree_seconds(self._postgres) - before_postgres
        return cells


def _tree_seconds(postmaster: int) -> float:
    """The CPU time of PostgreSQL's processes, those that have ended included."""
    ended = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()[13:15]
    return (
        sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")
        + cpu_seconds(postmaster)
        + sum(map(cpu_seconds, _children(postmaster)))
    )


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _memory(api: Served) -> str:
    """The memory of the API's process, and of the processes that it started."""
    pid = api.pids[0]
    return ", ".join([f"API {memory_mb(pid):.0f} MB", *(f"child {memory_mb(each):.0f} MB" for each in _children(pid))])


async def _postmaster(database_url: str) -> int:
    db = Database(create_engine(database_url, pool_size=1), Wakeups(""))
    async with db.worker() as session:
        backend = (await session.scalars(select(func.pg_backend_pid()))).one()
        parent = _parent(backend)
    await db.close()
    return parent


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


def _measure(load: LoadGenerator, answers: Served, settings: Settings, options: argparse.Namespace) -> None:
    postgres = asyncio.run(_postmaster(settings.database_url))
    rounds = Rounds(load, postgres, seconds=options.seconds, rounds=options.rounds)
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
            with migrated_database(**settings_of) as (_, settings):
                _measure(load, answers, settings, options)
    finally:
        load.stop()


if __name__ == "__main__":
    main()
