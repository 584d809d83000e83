"""`python -m benchmarks.growth`: how the cost of queries grows from 10 to 10,000 to 1,000,000 rows of one project.

The service's own query functions run in its role, under row-level security, against rows made by SQL. Each is timed, and
each statement that it has sent is repeated under `EXPLAIN (ANALYZE, BUFFERS)`: buffers are the pages of Postgres that it
touches, which do not depend on the machine. A neighbour has ten rows of everything beside them. Takes five minutes and
4 GB of disk with the default sizes.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.servers import migrated_database
from cli.embedded import SUPERUSER
from service.billing import actions as billing
from service.billing import usage
from service.billing.audit import CHECKS
from service.billing.balances import month_of
from service.billing.buckets import Bucket
from service.database.engine import Database, create_engine
from service.database.fair_claims import Heads, claim_fairly, longest_due
from service.database.tables import Job, Leased, WebhookDelivery
from service.datasets.files.queries import read_files
from service.datasets.files.schemas import ListFiles
from service.jobs.listing import list_jobs
from service.jobs.queries import EVENTS, count_queued, list_metrics, read_job
from service.jobs.schemas import ListJobs
from service.limits.queries import storage_bytes
from service.models.queries import read_model, read_models
from service.monitoring.readiness import heartbeat_and_oldest_due
from service.wakeups import Wakeups
from service.webhooks.queries import list_deliveries, list_events
from service.webhooks.schemas import ListDeliveries, ListEvents
from tests import many_rows
from tests.many_rows import MODEL, NEIGHBOUR, PROJECT, file_id, job_id, model_name
from tests.plans import Plan, Query, plans_of, rolled_back
from workers.maintenance.stalled_jobs import stalled
from workers.webhooks.candidates import candidates

ROUNDS = 15
DAY = 86_400


@dataclass(slots=True)
class Measured:
    """One query at one size: milliseconds (median) of all its statements together, and their plans."""

    milliseconds: float
    plans: list[Plan]

    @property
    def buffers(self) -> int:
        """The pages that all statements touched."""
        return sum(plan.buffers for plan in self.plans)


@dataclass(slots=True)
class Cell:
    """A query: its name, its scope, and what it does. `most` is the largest size for which it is measured."""

    name: str
    scope: Callable[[Database], AbstractAsyncContextManager[Any]]
    query: Query
    most: int | None = None
    results: dict[int, Measured] = field(default_factory=dict)


def cells(rows: int) -> list[Cell]:
    """The queries to measure against so many rows."""
    cursor = job_id(PROJECT, min(5, rows))
    read, read_neighbour = partial(Database.read, project_id=PROJECT), partial(Database.read, project_id=NEIGHBOUR)
    project, neighbour = partial(Database.project, project_id=PROJECT), partial(Database.project, project_id=NEIGHBOUR)
    worker, claims, admin = Database.worker, Database.claims, Database.admin
    old_event = f"ftevent-{PROJECT}-{min(5, rows)}"
    points = job_id(PROJECT, 1)
    now = int(time.time())
    week = [Bucket(begin=day, end=day + DAY) for day in range((now // DAY - 6) * DAY, now, DAY)]

    def listed(metadata: dict[str, str] | str | None = None, after: str | None = None, of: str = PROJECT) -> Query:
        return lambda session: list_jobs(
            session, of, ListJobs(after=after), now=dt.datetime.now(dt.UTC), metadata=metadata
        )

    def files(**values: Any) -> Query:
        return lambda session: read_files(session, PROJECT, ListFiles(limit=20, **values))

    def claim(table: type[Leased], heads: Heads) -> Query:
        return lambda session: claim_fairly(
            session, table, heads, places=64, occupied={}, last_admissions={}, lease_seconds=30
        )

    async def reserve_and_post(session: AsyncSession) -> None:
        month = month_of(dt.datetime.now(dt.UTC))
        reservation = {"line_item": "inference", "amount_micros": 5, "month": month, "model": MODEL}
        await billing.reserve(session, project_id=PROJECT, subject="call-new", **reservation)
        await billing.settle(session, subject="call-new", actual_micros=3, quantity=30)

    async def audit(session: AsyncSession) -> None:
        for _, check in CHECKS.values():
            await session.execute(text(check))

    return [
        Cell("retrieve a job", read, lambda s: read_job(s, PROJECT, job_id(PROJECT, rows // 2))),
        Cell("list jobs, first page", project, listed()),
        Cell("list jobs, last page", project, listed(after=cursor)),
        Cell("list jobs, a pair of metadata that a tenth has", project, listed({"team": "t1"})),
        Cell("list jobs, a pair of metadata that one old job has", project, listed({"run": "1"})),
        Cell("list jobs, a pair of metadata that none has", project, listed({"run": "none"})),
        Cell("list jobs, a common and a rare pair", project, listed({"team": "t1", "run": "1"})),
        Cell("list jobs without metadata", project, listed("null")),
        Cell("count of queued jobs, for a create", project, lambda s: count_queued(s, PROJECT)),
        Cell("neighbour: retrieve a job", read_neighbour, lambda s: read_job(s, NEIGHBOUR, job_id(NEIGHBOUR, 5))),
        Cell("neighbour: list jobs", neighbour, listed(of=NEIGHBOUR)),
        Cell("neighbour: list jobs, a pair of metadata that none has", neighbour, listed({"run": "none"}, of=NEIGHBOUR)),
        Cell("list files, first page", read, files()),
        Cell("list files, last page", read, files(after=file_id(PROJECT, min(5, rows)))),
        Cell("list files, a purpose that none has", read, files(purpose="batch")),
        Cell("stored bytes, for an upload", project, lambda s: storage_bytes(s, PROJECT)),
        Cell("retrieve a model", read, lambda s: read_model(s, PROJECT, model_name(PROJECT, rows))),
        Cell("list models (all, as OpenAI's)", read, lambda s: read_models(s, PROJECT), most=10_000),
        Cell("events of a job, first page", project, lambda s: EVENTS.page(s, PROJECT, points, after=None, limit=20)),
        Cell("events of a job, last page", project, lambda s: EVENTS.page(s, PROJECT, points, after=old_event, limit=20)),
        Cell("events of a job, next of a stream", project, lambda s: EVENTS.since(s, PROJECT, points, sequence=5, limit=20)),
        Cell("metrics of a job (all)", project, lambda s: list_metrics(s, PROJECT, points)),
        Cell(
            "list deliveries, first page",
            project,
            lambda s: list_deliveries(s, PROJECT, f"{many_rows.ENDPOINT}-{PROJECT}", ListDeliveries(limit=20)),
        ),
        Cell("list webhook events, first page", project, lambda s: list_events(s, PROJECT, ListEvents(limit=20))),
        Cell("balance of a month", project, lambda s: billing.month_balance(s, PROJECT, month_of(dt.datetime.now(dt.UTC)))),
        Cell("reserve and post", worker, reserve_and_post),
        Cell("claim jobs, a tenth is due", claims, claim(Job, partial(longest_due, Job))),
        Cell("claim deliveries, all are due", claims, claim(WebhookDelivery, partial(candidates, "fast"))),
        Cell("readiness: the oldest due work", worker, lambda s: s.execute(heartbeat_and_oldest_due())),
        Cell("jobs that have stalled", worker, lambda s: s.execute(select(Job.id).where(stalled()).limit(1))),
        Cell(
            "costs of a week by day",
            admin,
            lambda s: usage.costs(s, week, seconds=DAY, group_by=["project_id"], only={"project_id": [PROJECT]}),
        ),
        Cell("audit of the ledger (all entries)", worker, audit),
    ]  # fmt: skip


async def measure(db: Database, cell: Cell, rounds: int) -> Measured:
    """Run a query some times, each in a transaction that is rolled back, and explain its statements."""
    taken = []

    async def timed(session: AsyncSession) -> None:
        began = time.perf_counter()
        await cell.query(session)
        taken.append(1000 * (time.perf_counter() - began))

    for _ in range(rounds):
        await rolled_back(partial(cell.scope, db), timed)
    return Measured(statistics.median(taken), await plans_of(db, partial(cell.scope, db), cell.query))


async def run(
    url: str, superuser_url: str, sizes: Sequence[int], *, only: str, rounds: int, plans: bool
) -> dict[str, Cell]:
    """Seed size by size and measure at each."""
    table: dict[str, Cell] = {}
    superuser = await asyncpg.connect(superuser_url)
    db = Database(create_engine(url, pool_size=2, statement_seconds=None), Wakeups(""))
    await many_rows.prepare(superuser, PROJECT)
    await many_rows.prepare(superuser, NEIGHBOUR)
    await many_rows.seed(superuser, NEIGHBOUR, first=1, last=10)
    seeded = 0
    for size in sizes:
        await many_rows.seed(superuser, PROJECT, first=seeded + 1, last=size)
        await superuser.execute("VACUUM (ANALYZE)")
        seeded = size
        for cell in cells(size):
            if only not in cell.name or (cell.most is not None and size > cell.most):
                continue
            kept = table.setdefault(cell.name, cell)
            kept.results[size] = await measure(db, cell, rounds)
            if plans and size == sizes[-1]:
                print(f"## {cell.name}", *kept.results[size].plans, "", sep="\n")
    await db.close()
    await superuser.close()
    return table


def print_table(table: Mapping[str, Cell], sizes: Sequence[int]) -> None:
    """Print milliseconds and buffers at each size, and how milliseconds grew."""
    heads = [f"{size:,} rows: ms | buffers" for size in sizes]
    print(f"| query | {' | '.join(heads)} | ms, {sizes[-1]:,} : {sizes[0]:,} |\n|" + "---|" * (2 + 2 * len(sizes)))
    for cell in table.values():
        found = [cell.results.get(size) for size in sizes]
        shown = [f"{each.milliseconds:,.1f} | {each.buffers:,}" if each else " | " for each in found]
        first, last = found[0], found[-1]
        ratio = f"{last.milliseconds / first.milliseconds:,.1f}" if first and last else ""
        print(f"| {cell.name} | {' | '.join(shown)} | {ratio} |")


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks growth", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10, 10_000, 1_000_000])
    parser.add_argument("--only", default="", help="only the queries whose names contain this")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--plans", action="store_true", help="print the plans at the largest size")
    wanted = parser.parse_args(list(arguments))
    with migrated_database() as (servers, settings):
        name = settings.database_url.rpartition("/")[2].partition("?")[0]
        superuser_url = servers.postgres.url(SUPERUSER, name)
        options = {"only": wanted.only, "rounds": wanted.rounds, "plans": wanted.plans}
        table = asyncio.run(run(settings.database_url, superuser_url, wanted.sizes, **options))
    print_table(table, wanted.sizes)
    return 0


if __name__ == "__main__":
    import sys

    raise SystemExit(main(sys.argv[1:]))
