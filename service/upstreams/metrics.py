"""Prometheus metrics of upstream accounts, read from their rows at each scrape: every process reports the same."""

import asyncio
from collections.abc import Sequence

import structlog
from prometheus_client import Gauge
from sqlalchemy import func, select

from service.database.engine import Database
from service.database.tables import AccountPoll, UpstreamAccount
from service.upstreams.queries import is_cooling_down, live_accounts, stalled_jobs

log = structlog.get_logger()

READ_SECONDS = 2.0

COOLING_DOWN = Gauge(
    "tunegate_upstream_cooling_down", "1 while an upstream account cools down and takes no new work.", ["account"]
)
DRAINED = Gauge("tunegate_upstream_drained", "1 while an upstream account is drained.", ["account"])
FAILING = Gauge("tunegate_upstream_failing", "1 while the last call to an upstream account failed.", ["account"])

STALLED = Gauge("tunegate_jobs_stalled", "Jobs that received no update within their state's deadline.", ["account"])
LISTED = Gauge("tunegate_upstream_listed", "1 while an upstream account's jobs are polled by lists.", ["account"])


async def measure(db: Database) -> None:
    """Set the gauges. They are cleared when the database is unavailable: no value is better than an old one."""
    rows: Sequence[UpstreamAccount] = ()
    try:
        async with asyncio.timeout(READ_SECONDS), db.admin() as session:
            now = await session.scalar(select(func.now()))
            rows = await live_accounts(session)
            stalled = await stalled_jobs(session)
            listed = set(await session.scalars(select(AccountPoll.id).where(AccountPoll.listing)))
    except Exception as error:
        log.warning("upstream.not_measured", error=type(error).__name__)
    for gauge in (COOLING_DOWN, DRAINED, FAILING, STALLED, LISTED):
        gauge.clear()
    for row in rows:
        failed = row.last_error_at is not None and (
            row.last_success_at is None or row.last_success_at < row.last_error_at
        )
        COOLING_DOWN.labels(row.id).set(is_cooling_down(row, now))
        DRAINED.labels(row.id).set(row.drained_at is not None)
        FAILING.labels(row.id).set(failed)
        STALLED.labels(row.id).set(stalled.get(row.id, 0))
        LISTED.labels(row.id).set(row.id in listed)
