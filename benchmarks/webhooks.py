"""`python -m benchmarks.webhooks [--deliveries 10000] [--rate 0.2] [--rounds 3]`: deliveries a second, their latency.

Two real workers (there are two cores), a receiver in a process of its own, Postgres and Valkey as the tests have them
(Postgres does not wait for the disk). Latency is from the commit of the event to the receiver's having read the request,
by one clock. Every figure has its limit beside it, measured in turns in the same run:

- burst: all deliveries at once to 100 endpoints, from the first commit to the last receipt; beside it as many POSTs by
  two processes with the same sender and signatures, without a database;
- one at a time: one delivery, then one POST, and so on, with Redis and without;
- steady: deliveries at a share (`--rate`) of the burst's speed to healthy endpoints, then with every tenth of them never
  answering, then all healthy again. The ratio is of the healthy endpoints' p99: hanging to the mean of the others.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from statistics import median

import uvloop

from benchmarks.webhook_harness import HANGING, HEALTHY, WORKERS, WebhookHarness, running_workers
from benchmarks.webhook_receiver import Receiver
from service.egress.addresses import Reach
from service.ids import new_id
from service.logs import configure
from service.webhooks.event_types import sample_body
from service.webhooks.outcomes import Delivered
from service.webhooks.sender import Sender
from service.webhooks.signing import new_secret, signed_headers
from tests.stack import Servers, running_servers

ENDPOINTS, PROJECTS = 100, 10
BARE_CONCURRENCY = 64
SAMPLES = 100
PAUSE_SECONDS = 0.15


def post_many(port: int, posts: int) -> float:
    """Sign and send so many messages, without a database. Returns the CPU time; run in a process of its own."""

    async def post_all() -> None:
        sender, numbers = _sender(), iter(range(posts))

        async def post_some() -> None:
            for number in numbers:
                await _post(sender, port, f"/healthy/{number % PROJECTS}")

        await asyncio.gather(*(post_some() for _ in range(BARE_CONCURRENCY)))

    started = time.process_time()
    uvloop.run(post_all())
    return time.process_time() - started


def _sender() -> Sender:
    return Sender(reach=Reach.of(allow_private=True, development=True), timeout_seconds=20)


async def _post(sender: Sender, port: int, path: str) -> str:
    event_id, now = new_id("evt_"), dt.datetime.now(dt.UTC)
    body = sample_body(event_id, type=HEALTHY, now=now)
    headers = signed_headers(message_id=event_id, now=now, body=body, secrets=[new_secret()])
    outcome = await sender.send(f"http://127.0.0.1:{port}{path}", headers, body)
    if not isinstance(outcome, Delivered):
        raise SystemExit(f"a POST without a database failed: {outcome}")
    return f"{event_id} {path}"


async def bare(pool: Executor, port: int, posts: int) -> tuple[float, float]:
    """POSTs a second of two processes without a database, and the CPU milliseconds of one."""
    loop, started = asyncio.get_running_loop(), time.monotonic()
    each = [loop.run_in_executor(pool, post_many, port, posts // WORKERS) for _ in range(WORKERS)]
    cpu = sum(await asyncio.gather(*each))
    return posts / (time.monotonic() - started), 1000 * cpu / posts


async def burst(harness: WebhookHarness, deliveries: int) -> tuple[float, dict[str, float]]:
    """Deliveries a second, and the CPU milliseconds of one by part. An event goes to ten endpoints of one project."""
    each = ENDPOINTS // PROJECTS
    projects = [await harness.new_endpoints(each) for _ in range(PROJECTS)]
    before, started = harness.cpu_seconds(), time.time()
    committed = await harness.emit(projects, HEALTHY, events=deliveries // each)
    expected = {f"{event_id} /healthy/{number}" for event_id in committed for number in range(each)}
    arrived = await asyncio.to_thread(harness.receiver.arrivals, expected)
    used = {part: 1000 * (value - before[part]) / deliveries for part, value in harness.cpu_seconds().items()}
    return deliveries / (max(arrived[key] for key in expected) - started), used


async def one_at_a_time(harness: WebhookHarness, samples: int = SAMPLES) -> tuple[list[float], list[float]]:
    """Latencies of single deliveries, and of single POSTs by this process in between."""
    project_id, sender = await harness.new_endpoints(1), _sender()
    committed: dict[str, float] = {}
    posted: dict[str, float] = {}
    for _ in range(samples):
        committed |= await harness.emit([project_id], HEALTHY, events=1)
        await asyncio.sleep(PAUSE_SECONDS)
        started = time.time()
        posted[await _post(sender, harness.receiver.port, "/healthy/0")] = started
    arrived = await asyncio.to_thread(harness.receiver.arrivals, set(posted))
    return await harness.latencies(committed), [arrived[key] - started for key, started in posted.items()]


async def steady(harness: WebhookHarness, *, deliveries: int, per_second: float, hanging: int) -> list[float]:
    """Latencies of the healthy endpoints, each of its own project, while so many others hang."""
    healthy = ENDPOINTS - hanging
    projects = [await harness.new_endpoints(1) for _ in range(healthy)]
    dead = [await harness.new_endpoints(0, 1) for _ in range(hanging)]
    share = deliveries * healthy // ENDPOINTS
    hung = (
        [harness.emit(dead, HANGING, events=deliveries - share, per_second=per_second * hanging / ENDPOINTS)]
        if hanging
        else []
    )
    committed, *_ = await asyncio.gather(
        harness.emit(projects, HEALTHY, events=share, per_second=per_second * healthy / ENDPOINTS), *hung
    )
    latencies = await harness.latencies(committed)
    for project_id in dead:
        await harness.delete_endpoints(project_id)
    return latencies


def percentile_ms(latencies: Sequence[float], share: float) -> float:
    """A percentile, in milliseconds."""
    return 1000 * sorted(latencies)[min(len(latencies) - 1, int(share * len(latencies)))]


def shown(latencies: Sequence[float]) -> str:
    """p50 and p99."""
    return f"p50 {percentile_ms(latencies, 0.5):,.1f} ms, p99 {percentile_ms(latencies, 0.99):,.1f} ms"


async def measure_burst(harness: WebhookHarness, pool: Executor, deliveries: int, rounds: int) -> dict[str, float]:
    """Bursts and bare POSTs in turns."""
    rates: list[float] = []
    bare_rates: list[float] = []
    cpu: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        rate, used = await burst(harness, deliveries)
        bare_rate, bare_cpu = await bare(pool, harness.receiver.port, deliveries)
        rates.append(rate)
        bare_rates.append(bare_rate)
        for part, value in (used | {"bare": bare_cpu}).items():
            cpu[part].append(value)
        print(f"burst of {deliveries:,}: {rate:,.0f} a second; bare POSTs: {bare_rate:,.0f}", flush=True)
    ratio = median(rate / bare_rate for rate, bare_rate in zip(rates, bare_rates, strict=True))
    parts = ", ".join(f"{part} {median(values):.2f}" for part, values in cpu.items())
    print(f"burst, median: {median(rates):,.0f} a second, {ratio:.2f} of bare POSTs; CPU ms each: {parts}", flush=True)
    found = {f"{part}_cpu_ms": median(values) for part, values in cpu.items()}
    return found | {"per_second": median(rates), "bare_per_second": median(bare_rates), "of_bare": ratio}


async def measure(
    servers: Servers, database: str, receiver: Receiver, pool: Executor, options: argparse.Namespace
) -> dict[str, float]:
    """Everything that is measured with Redis."""
    async with running_workers(servers, database, redis=True, receiver=receiver) as harness:
        latencies, posts = await one_at_a_time(harness)
        print(f"one at a time, with Redis: {shown(latencies)}; one POST: {shown(posts)}", flush=True)
        found = {"redis_p99_ms": percentile_ms(latencies, 0.99), "post_p99_ms": percentile_ms(posts, 0.99)}
        found |= await measure_burst(harness, pool, options.deliveries, options.rounds)
        per_second = options.rate * found["per_second"]
        p99s = []
        for hanging in (0, ENDPOINTS // 10, 0):
            latencies = await steady(harness, deliveries=options.deliveries, per_second=per_second, hanging=hanging)
            p99s.append(percentile_ms(latencies, 0.99))
            print(
                f"{per_second:,.0f} a second, {hanging} of {ENDPOINTS} hanging: healthy {shown(latencies)}", flush=True
            )
    found["hanging_ratio"] = p99s[1] / ((p99s[0] + p99s[2]) / 2)
    print(f"p99 with hanging ones : without = {found['hanging_ratio']:.2f}", flush=True)
    return found


async def measure_without_redis(servers: Servers, database: str, receiver: Receiver) -> dict[str, float]:
    """Deliveries that workers find without wake-ups."""
    async with running_workers(servers, database, redis=False, receiver=receiver) as harness:
        latencies, posts = await one_at_a_time(harness)
    print(f"one at a time, without Redis: {shown(latencies)}; one POST: {shown(posts)}", flush=True)
    return {"no_redis_p99_ms": percentile_ms(latencies, 0.99)}


@contextmanager
def everything() -> Iterator[tuple[Servers, Receiver, Executor]]:
    """The servers, the receiver, and processes that POST without a database."""
    receiver = Receiver()
    try:
        with running_servers() as servers, ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
            yield servers, receiver, pool
    finally:
        receiver.stop()


def main() -> None:
    """Measure and print. Fails if hanging endpoints more than doubled the others' p99."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--deliveries", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    configure("error", "json")
    with everything() as (servers, receiver, pool):
        with servers.fresh_database() as database:
            found = uvloop.run(measure(servers, database, receiver, pool, options))
        with servers.fresh_database() as database:
            found |= uvloop.run(measure_without_redis(servers, database, receiver))
    if options.json:
        print(json.dumps(found))
    raise SystemExit(0 if found["hanging_ratio"] <= 2 else 1)


if __name__ == "__main__":
    main()
