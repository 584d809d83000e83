"""The list of the leader's periodic tasks. To add one, add a file to this folder and a line here."""

from functools import partial

from service.billing.abandoned_reservations import resolve_abandoned_reservations
from workers.context import Context
from workers.maintenance import (
    deployments,
    listed_models,
    orphaned_upstream_jobs,
    pruning,
    retention,
    retirement_notices,
    stalled_jobs,
    storage_cleanup,
)
from workers.maintenance.leader import PeriodicTask

MIN_ORPHAN_SECONDS = 5.0


def periodic_tasks(ctx: Context) -> list[PeriodicTask]:
    """Every task with its period in seconds."""
    orphan_seconds = max(MIN_ORPHAN_SECONDS, ctx.settings.settle_seconds)
    return [
        PeriodicTask("deployments", 60.0, partial(deployments.adopt_deployments, ctx.db)),
        PeriodicTask(
            "orphaned_upstream_jobs", orphan_seconds, partial(orphaned_upstream_jobs.cancel_orphaned_jobs, ctx)
        ),
        PeriodicTask("abandoned_reservations", 15.0, partial(resolve_abandoned_reservations, ctx.db)),
        PeriodicTask("stalled_jobs", 30.0, partial(stalled_jobs.report_stalled_jobs, ctx.db)),
        PeriodicTask("listed_models", 60.0, partial(listed_models.read_listed_models, ctx)),
        PeriodicTask("retention", 60.0, partial(retention.remove_expired_files, ctx)),
        PeriodicTask("storage_cleanup", 60.0, partial(storage_cleanup.clean_up, ctx)),
        PeriodicTask("retirement_notices", 60.0, partial(_send_retirement_notices, ctx)),
        PeriodicTask("pruning", 600.0, partial(pruning.prune, ctx)),
    ]


async def _send_retirement_notices(ctx: Context) -> int:
    return await retirement_notices.send_notices(ctx.db, ctx.catalogue, ctx.today())
