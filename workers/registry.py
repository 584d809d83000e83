"""The handlers of leased work: for each kind its step, the maximum of concurrent steps and the rows it may claim.

To add a kind, add a line to `service/database/leased_work.py`, a line here, and a file with its step.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from sqlalchemy import Select

from service.database import leased_work
from service.database.fair_claims import Heads, longest_due
from service.database.leased_work import LeasedWork
from service.database.leases import Claim
from service.settings import Settings
from service.worker_places import (
    ACCOUNT_POLLS,
    DELETIONS,
    DELIVERIES,
    DEPLOYMENTS,
    EXPERIMENTS,
    RETRIES,
    RUNS,
    SLOW_DELIVERIES,
)
from workers.context import Context
from workers.datasets import leakage, preparation, report
from workers.deletions import carry_out
from workers.dispatcher import Dispatcher, Queue
from workers.experiments import advance as experiments
from workers.jobs import account_poller, advance, deploy, schedule
from workers.runs import advance as runs
from workers.webhooks import candidates, deliver

RowsToClaim = Callable[[Context], Select[Any]]


@dataclass(frozen=True, slots=True)
class Handler:
    """How workers process one kind of leased work.

    `heads` has the rows that may be claimed, by project; by default the longest due ones of a kind whose rows have a
    project. `queue` names a queue of its own if the kind has a second one, and `separate` means that its steps make no
    rows of other kinds due.
    """

    work: LeasedWork
    step: Callable[[Context, Claim[Any]], Awaitable[None]]
    concurrency: Callable[[Settings], int]
    heads: RowsToClaim | None = None
    queue: str | None = None
    separate: bool = False

    def bind(self, ctx: Context) -> Queue:
        """The queue for this worker's dispatcher."""
        table = self.work.table
        heads: Heads | None = None
        if self.heads is not None:
            heads = partial(self.heads, ctx)
        elif hasattr(table, "project_id"):
            heads = cache(partial(longest_due, table))
        return Queue(
            name=self.queue or self.work.name,
            work=self.work,
            step=partial(self.step, ctx),
            concurrency=self.concurrency(ctx.settings),
            heads=heads,
            separate=self.separate,
        )


def _validation_processes(settings: Settings) -> int:
    return settings.validation_processes


def _worker_concurrency(settings: Settings) -> int:
    return settings.worker_concurrency


HANDLERS = (
    Handler(leased_work.JOBS, advance.advance, _worker_concurrency, advance.due_jobs),
    Handler(leased_work.ACCOUNT_POLLS, account_poller.poll_account, lambda _: ACCOUNT_POLLS, account_poller.due_polls),
    Handler(leased_work.SCHEDULING, schedule.run_scheduling_pass, lambda _: 1),
    Handler(leased_work.REPORTS, report.validate, _validation_processes),
    Handler(leased_work.PREPARATIONS, preparation.prepare, _validation_processes),
    Handler(leased_work.LEAKAGE_REPORTS, leakage.compare, _validation_processes),
    Handler(leased_work.RUNS, runs.advance, lambda _: RUNS),
    Handler(leased_work.DEPLOYMENTS, deploy.advance_deployment, lambda _: DEPLOYMENTS),
    Handler(leased_work.EXPERIMENTS, experiments.advance, lambda _: EXPERIMENTS),
    Handler(leased_work.DELETIONS, carry_out.carry_out, lambda _: DELETIONS),
    Handler(
        leased_work.DELIVERIES,
        deliver.deliver,
        lambda _: DELIVERIES,
        candidates.of_fast_endpoints,
        separate=True,
    ),
    Handler(
        leased_work.DELIVERIES,
        deliver.deliver,
        lambda _: SLOW_DELIVERIES,
        candidates.of_slow_endpoints,
        queue="slow_deliveries",
        separate=True,
    ),
    Handler(
        leased_work.DELIVERIES,
        deliver.deliver,
        lambda _: RETRIES,
        candidates.of_failing_endpoints,
        queue="retries",
        separate=True,
    ),
)

if missing := set(leased_work.ALL) - {handler.work for handler in HANDLERS}:
    raise RuntimeError(f"No handler for the leased work {sorted(work.name for work in missing)}.")


def dispatcher_of(ctx: Context) -> Dispatcher:
    """A dispatcher with the queues of every handler."""
    return Dispatcher(
        ctx.db,
        [handler.bind(ctx) for handler in HANDLERS],
        lease_seconds=ctx.settings.lease_seconds,
        every_seconds=ctx.settings.reconcile_seconds,
    )
