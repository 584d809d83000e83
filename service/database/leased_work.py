"""Every kind of leased work: rows that are due at some time, and that one worker at a time works on.

This is the one list. `/readyz` shows the oldest due row over all of it, a change to a row wakes the workers by a kind's
name, and `workers/registry.py` gives each kind its step: a worker does not start when a kind has none.
"""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import (
    AccountPoll,
    DatasetPreparation,
    Deletion,
    FileReport,
    Job,
    LeakageReport,
    Leased,
    Run,
    SchedulingPass,
    Upload,
    UpstreamFile,
    WebhookDelivery,
)
from service.wakeups import Wakeup, add_wakeup


@dataclass(frozen=True, slots=True)
class LeasedWork:
    """A kind of leased work: `name` in metrics, logs and wake-ups, and the table of its rows."""

    name: str
    table: type[Leased]


JOBS = LeasedWork("jobs", Job)
ACCOUNT_POLLS = LeasedWork("account_polls", AccountPoll)
SCHEDULING = LeasedWork("scheduling_passes", SchedulingPass)
REPORTS = LeasedWork("reports", FileReport)
PREPARATIONS = LeasedWork("preparations", DatasetPreparation)
LEAKAGE_REPORTS = LeasedWork("leakage_reports", LeakageReport)
RUNS = LeasedWork("runs", Run)
DELETIONS = LeasedWork("deletions", Deletion)
DELIVERIES = LeasedWork("deliveries", WebhookDelivery)

ALL = (
    JOBS,
    ACCOUNT_POLLS,
    SCHEDULING,
    REPORTS,
    PREPARATIONS,
    LEAKAGE_REPORTS,
    RUNS,
    DELETIONS,
    DELIVERIES,
)

CLAIMED_BY_OTHERS: tuple[type[Leased], ...] = (Upload, UpstreamFile)
"""Tables whose rows are claimed within a request or within another row's step, and by no dispatcher."""


def wake(session: AsyncSession, work: LeasedWork, row_id: str, version: object) -> None:
    """Have the workers look at this row as soon as this transaction has committed; `version` keeps wake-ups apart."""
    add_wakeup(session, Wakeup(work.name, row_id, str(version)))
