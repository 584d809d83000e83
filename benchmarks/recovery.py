"""`python -m benchmarks.recovery`: how long work waits after a worker is killed, and without Redis. Production settings.

Takes some four minutes on two cores, most of it the lease of 30 seconds. Real processes, real servers.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

from service.settings import Settings
from tests.faults.callers import Caller, CallLog
from tests.faults.control import RETRIEVE
from tests.faults.harness import FaultHarness, open_fault_harness
from tests.faults.processes import wait_until

PRODUCTION = {
    name: getattr(Settings(), name)
    for name in ("lease_seconds", "reconcile_seconds", "settle_seconds", "poll_seconds", "upstream_timeout_seconds")
}
RECOVERED_SECONDS, WOKEN_SECONDS = 35.0, 3.0
"""What RELIABILITY promises: after a kill at most, and without Redis at the 99th percentile."""

HELD = 20
"""Jobs at which a worker is at work as it is killed: as many as another one, idle, has room for (`workers/bulkhead.py`)."""

SLOW_SECONDS = 15.0
"""How long the upstream takes for an answer meanwhile: longer than a round takes until the kill."""

PACE_SECONDS = 0.1
CHECK_SECONDS = 0.05


async def after_a_kill(rounds: int) -> list[float]:
    """Seconds from kill −9 of a worker until another one has each row that it held."""
    waits: list[float] = []
    async with open_fault_harness(**PRODUCTION) as harness:
        await _started(harness)
        await _submitted(harness, HELD)
        harness.upstream.configure(steps=[{"status": "running"}])
        harness.workers[0].start()
        await wait_until(lambda: _all_in(harness, "running"), 120, harness.workers[0].output())
        harness.upstream.fault(RETRIEVE, times=0, late=SLOW_SECONDS)
        other = harness.new_worker()
        for _ in range(rounds):
            await harness.execute("UPDATE jobs SET due_at = now() WHERE state = 'running'")
            held: dict[str, int] = {}
            until = time.monotonic() + random.uniform(5, 8)  # before and after leases are renewed
            while time.monotonic() < until:
                held = {row["id"]: row["lease_token"] for row in await _held(harness)}
                await asyncio.sleep(CHECK_SECONDS)
            other.start()
            await asyncio.sleep(3)
            held = {row["id"]: row["lease_token"] for row in await _held(harness) if row["id"] in held}
            harness.workers[0].kill()
            killed = time.monotonic()
            while held and time.monotonic() - killed < 2 * RECOVERED_SECONDS:
                rows = await harness.fetch("SELECT id, lease_token FROM jobs WHERE id = ANY($1)", list(held))
                for row in rows:
                    if row["lease_token"] > held[row["id"]]:
                        waits.append(time.monotonic() - killed)
                        del held[row["id"]]
                await asyncio.sleep(CHECK_SECONDS)
            waits += [float("inf")] * len(held)
            harness.workers.reverse()
            other = harness.workers[1]
    return waits


async def until_woken(jobs: int, *, with_redis: bool) -> tuple[list[float], list[float]]:
    """Seconds from a job's commit until its first step is committed, and until it is sent upstream."""
    async with open_fault_harness(**PRODUCTION, **({} if with_redis else {"redis_url": ""})) as harness:
        await _started(harness)
        harness.workers[0].start()
        await asyncio.sleep(3)
        await _submitted(harness, jobs)
        await wait_until(lambda: _all_in(harness, "running", "settling", "succeeded"), 180, harness.workers[0].output())
        rows = await harness.fetch(
            "SELECT s.state, extract(epoch FROM s.entered_at - j.created_at)::float8 AS seconds "
            "FROM jobs j JOIN job_states s ON s.job_id = j.id WHERE s.state IN ('waiting', 'running')"
        )
    return (
        [row["seconds"] for row in rows if row["state"] == "waiting"],
        [row["seconds"] for row in rows if row["state"] == "running"],
    )


async def _started(harness: FaultHarness) -> None:
    """An API, a caller's project, and a worker that is not started; the dataset is checked by one that ends again."""
    harness.new_api().start()
    await harness.serving()
    caller = Caller(harness, await harness.new_tenant("0"), CallLog())
    await caller.new_file("base")
    await caller.close()
    await harness.execute("UPDATE upstream_accounts SET max_active_jobs = 1000")
    worker = harness.new_worker().start()

    async def checked() -> bool:
        rows = await harness.fetch("SELECT count(*) FROM files WHERE status = 'uploaded'")
        return int(rows[0][0]) == 0

    await wait_until(checked, 120, worker.output())
    await harness.execute("UPDATE upstream_accounts SET max_active_jobs = 1000")
    worker.kill()


async def _submitted(harness: FaultHarness, jobs: int) -> None:
    import openai

    tenant = harness.tenants[0]
    async with openai.AsyncOpenAI(base_url=harness.base_url, api_key=tenant.key, timeout=60) as sdk:
        file = (await sdk.files.list(purpose="fine-tune")).data[0]
        for number in range(jobs):
            await sdk.fine_tuning.jobs.create(
                model="gpt-4o-mini", training_file=file.id, metadata={"mark": str(number)}
            )
            await asyncio.sleep(PACE_SECONDS)


async def _held(harness: FaultHarness) -> list[Any]:
    return await harness.fetch("SELECT id, lease_token FROM jobs WHERE leased_until > now()")


async def _all_in(harness: FaultHarness, *states: str) -> bool:
    rows = await harness.fetch("SELECT count(*) FROM jobs WHERE NOT state = ANY($1)", list(states))
    return int(rows[0][0]) == 0


def _row(name: str, seconds: Sequence[float], promised: str) -> str:
    cut = statistics.quantiles(seconds, n=100, method="inclusive")
    return (
        f"| {name} | {len(seconds)} | {cut[49]:.2f} | {cut[94]:.2f} | {cut[98]:.2f} | {max(seconds):.2f} | {promised} |"
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="kills of a worker that holds as many rows as it can")
    parser.add_argument("--jobs", type=int, default=120)
    options = parser.parse_args()
    kept = ", ".join(f"{name.replace('_seconds', '')} {value:g} s" for name, value in PRODUCTION.items())
    print(f"Production settings: {kept}.\n", flush=True)
    print("| seconds | n | p50 | p95 | p99 | max | promised |\n|---|---|---|---|---|---|---|", flush=True)
    waits = asyncio.run(after_a_kill(options.rounds))
    print(_row("from kill −9 of a worker until another has its rows", waits, "max ≤ 35"), flush=True)
    woken = {}
    for with_redis in (False, True):
        first, sent = asyncio.run(until_woken(options.jobs, with_redis=with_redis))
        how = "with Redis" if with_redis else "without Redis"
        woken[with_redis] = first
        print(_row(f"from accepted to the first step, {how}", first, "" if with_redis else "p99 ≤ 3"), flush=True)
        print(_row(f"from accepted to running upstream, {how}", sent, ""), flush=True)
    p99 = statistics.quantiles(woken[False], n=100, method="inclusive")[98]
    if max(waits) > RECOVERED_SECONDS or p99 > WOKEN_SECONDS:
        raise SystemExit("a promise is broken")


if __name__ == "__main__":
    main()
