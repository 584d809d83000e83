"""The periodic tasks of the leader, in one list. A new one is a file in this folder and a line here."""

from functools import partial

from service.billing.abandoned_reservations import resolve_abandoned_reservations
from workers.context import Context
from workers.jobs import deploy
from workers.maintenance import (
    orphaned_upstream_jobs,
    pruning,
    retention,
    retirement_notices,
    stalled_jobs,
    storage_cleanup,
)
from workers.maintenance.leader import PeriodicTask

MIN_ORPHANS_SECONDS = 5.0


def periodic_tasks(ctx: Context) -> list[PeriodicTask]:
    """Every task with its period."""
    orphans_seconds = max(MIN_ORPHANS_SECONDS, ctx.settings.settle_seconds)
    return [
        PeriodicTask("deployments", 2.0, partial(deploy.advance, ctx)),
        PeriodicTask("orphaned_upstream_jobs", orphans_seconds, partial(orphaned_upstream_jobs.cancel_orphans, ctx)),
        PeriodicTask("abandoned_reservations", 15.0, partial(resolve_abandoned_reservations, ctx.db)),
        PeriodicTask("stalled_jobs", 30.0, partial(stalled_jobs.tell_of_stalled, ctx.db)),
        PeriodicTask("retention", 60.0, partial(retention.remove_outdated, ctx)),
        PeriodicTask("storage_cleanup", 60.0, partial(storage_cleanup.clear_up, ctx)),
        PeriodicTask("retirement_notices", 60.0, partial(_announce_retirements, ctx)),
        PeriodicTask("pruning", 600.0, partial(pruning.prune, ctx)),
    ]


async def _announce_retirements(ctx: Context) -> int:
    return await retirement_notices.announce(ctx.db, ctx.catalogue, ctx.today())
