"""Prometheus metrics of upstream accounts, read from their rows at each scrape: every process reports the same."""

import asyncio
from collections.abc import Sequence

import structlog
from prometheus_client.metrics_core import GaugeMetricFamily
from sqlalchemy import func, select

from service.database.engine import Database
from service.database.tables import AccountPoll, UpstreamAccount
from service.upstreams.queries import is_cooling_down, live_accounts, stalled_jobs

log = structlog.get_logger()

READ_SECONDS = 2.0


async def measure(db: Database) -> Sequence[GaugeMetricFamily]:
    """The gauges. They are empty when the database is unavailable: no value is better than an old one."""
    rows: Sequence[UpstreamAccount] = ()
    try:
        async with asyncio.timeout(READ_SECONDS), db.admin() as session:
            now = await session.scalar(select(func.now()))
            rows = await live_accounts(session)
            stalled = await stalled_jobs(session)
            listed = set(await session.scalars(select(AccountPoll.id).where(AccountPoll.listing)))
    except Exception as error:
        log.warning("upstream.not_measured", error=type(error).__name__)
    cooling_down, drained, failing, stalled_by_account, by_lists = gauges = _gauges()
    for row in rows:
        failed = row.last_error_at is not None and (
            row.last_success_at is None or row.last_success_at < row.last_error_at
        )
        cooling_down.add_metric([row.id], is_cooling_down(row, now))
        drained.add_metric([row.id], row.drained_at is not None)
        failing.add_metric([row.id], failed)
        stalled_by_account.add_metric([row.id], stalled.get(row.id, 0))
        by_lists.add_metric([row.id], row.id in listed)
    return gauges


def _gauges() -> Sequence[GaugeMetricFamily]:
    return [
        GaugeMetricFamily(name, documentation, labels=["account"])
        for name, documentation in (
            ("tunegate_upstream_cooling_down", "1 while an upstream account cools down and takes no new work."),
            ("tunegate_upstream_drained", "1 while an upstream account is drained."),
            ("tunegate_upstream_failing", "1 while the last call to an upstream account failed."),
            ("tunegate_jobs_stalled", "Jobs that received no update within their state's deadline."),
            ("tunegate_upstream_listed", "1 while an upstream account's jobs are polled by lists."),
        )
    ]
