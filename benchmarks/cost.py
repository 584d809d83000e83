"""`python -m benchmarks.cost [--jobs 200]`: what one request, one job and one delivery cost each program.

A real API, a real worker with the settings of production, the tests' upstream, and Postgres and Valkey as the tests have
them: Postgres does not wait for the disk and writes no full pages, so its WAL is a lower bound. Counted are the CPU time
of each program with its children, less what it uses while nothing happens; transactions; statements, in a smaller run of their
own, by Postgres's log; bytes of WAL; and bytes of tables with their indexes, without dead rows.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable

from benchmarks.capacity import Cost, capacity_tables
from benchmarks.cost_site import Counts, Programs, Site, open_site, running_programs
from service.logs import configure


def _row(name: str, cost: Counts, statements: float) -> str:
    cpu = " | ".join(f"{1000 * max(0.0, each):.2f}" for each in cost.cpu_seconds.values())
    tables = f"{sum(cost.table_bytes.values()):,.0f}" if cost.table_bytes else ""
    return (
        f"| {name} | {cpu} | {cost.transactions:.1f} | {statements:.1f} | {max(0.0, cost.wal_bytes):,.0f} | {tables} |"
    )


async def measure(programs: Programs, jobs: int, requests: int, deliveries: int) -> None:
    """Measure and print everything."""
    async with open_site(programs) as site:
        works: list[tuple[str, Callable[[int], Awaitable[None]], int, bool]] = [
            ("GET one job", site.get_job, requests, False),
            ("GET the newest 20 jobs", site.list_jobs, requests, False),
            ("a job, created and run to its end", site.run_jobs, jobs, True),
            ("a delivery, with its event", site.deliver, deliveries, True),
        ]
        idle = await site.measure_idle()
        costs = [await _with_endpoint(site, work, number, sizes) for _, work, number, sizes in works]
        await site.log_statements(True)
        in_a_second = (await site.measure_idle()).statements
        statements = [(await _with_endpoint(site, work, 40, False)).statements for _, work, _, _ in works]
        await site.log_statements(False)
        connections = await site.admin.fetch(
            "SELECT application_name, count(*) FROM pg_stat_activity WHERE application_name LIKE 'tunegate%' GROUP BY 1"
        )
    print(
        "| for each | CPU ms: API | worker | Postgres | Redis | transactions | statements | WAL bytes | table bytes |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for (name, *_), cost, each in zip(works, costs, statements, strict=True):
        print(_row(name, cost, each))
    print(_row("a second in which nothing happens", idle, in_a_second))
    for (name, *_), cost in zip(works, costs, strict=True):
        if cost.table_bytes:
            tables = sorted(((each, table) for table, each in cost.table_bytes.items() if each >= 1), reverse=True)
            print(f"\ntables of {name}: " + ", ".join(f"{table} {each:,.0f}" for each, table in tables))
    get, _, job, delivery = map(_capacity_cost, costs)
    print(f"\n{capacity_tables(get, job, delivery)}")
    print("\nconnections at the end: " + ", ".join(f"{row[0]} {row[1]}" for row in connections))


def _capacity_cost(cost: Counts) -> Cost:
    return Cost(
        cpu_ms={name: 1000 * each for name, each in cost.cpu_seconds.items()},
        wal_bytes=cost.wal_bytes,
        table_bytes=sum(cost.table_bytes.values()),
    )


async def _with_endpoint(site: Site, work: Callable[[int], Awaitable[None]], number: int, sizes: bool) -> Counts:
    """The cost, with the endpoint enabled for deliveries only."""
    if work != site.deliver:
        return await site.cost(work, number, sizes=sizes)
    await site.enable_endpoint(True)
    try:
        return await site.cost(work, number, sizes=sizes)
    finally:
        await site.enable_endpoint(False)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--deliveries", type=int, default=500)
    options = parser.parse_args()
    configure("error", "json")
    with running_programs() as programs:
        asyncio.run(measure(programs, options.jobs, options.requests, options.deliveries))


if __name__ == "__main__":
    main()
