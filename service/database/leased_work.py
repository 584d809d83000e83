"""The registry of leased work: tables whose rows become due, and are processed by one worker at a time.

`/readyz` reports the oldest due row of all kinds, wake-ups carry a kind's name, and `workers/registry.py` assigns each
kind its step: a worker refuses to start if a kind has none.
"""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import (
    AccountPoll,
    DatasetPreparation,
    Deletion,
    Deployment,
    Experiment,
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
    """A kind of leased work: its name in metrics, logs and wake-ups, and its table."""

    name: str
    table: type[Leased]


JOBS = LeasedWork("jobs", Job)
ACCOUNT_POLLS = LeasedWork("account_polls", AccountPoll)
SCHEDULING = LeasedWork("scheduling_passes", SchedulingPass)
REPORTS = LeasedWork("reports", FileReport)
PREPARATIONS = LeasedWork("preparations", DatasetPreparation)
LEAKAGE_REPORTS = LeasedWork("leakage_reports", LeakageReport)
RUNS = LeasedWork("runs", Run)
DEPLOYMENTS = LeasedWork("deployments", Deployment)
EXPERIMENTS = LeasedWork("experiments", Experiment)
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
    DEPLOYMENTS,
    EXPERIMENTS,
    DELETIONS,
    DELIVERIES,
)

CLAIMED_BY_OTHERS: tuple[type[Leased], ...] = (Upload, UpstreamFile)
"""Leased tables whose rows a request or another row's step claims, not the dispatcher."""


def wake(session: AsyncSession, work: LeasedWork, row_id: str, version: object) -> None:
    """Wake the workers for this row when the transaction has committed; `version` tells this wake-up from others."""
    add_wakeup(session, Wakeup(work.name, row_id, str(version)))
