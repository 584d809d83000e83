"""The handlers of leased work: for each kind its step, the maximum of concurrent steps and the rows it may claim.

To add a kind, add a line to `service/database/leased_work.py`, a line here, and a file with its step.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement

from service.database import leased_work
from service.database.leased_work import LeasedWork
from service.database.leases import Claim
from service.settings import Settings
from workers.context import Context
from workers.datasets import leakage, preparation, report
from workers.deletions import carry_out
from workers.dispatcher import Dispatcher, Queue
from workers.jobs import account_poller, advance, schedule
from workers.runs import advance as runs
from workers.webhooks import deliver

Conditions = Sequence[ColumnElement[bool]]

ACCOUNT_POLLS = 64
"""Accounts that are polled concurrently. A poll mostly waits, and an unresponsive account must not delay others."""

RUNS = 8
"""Generations and comparisons that have a time slice concurrently; each has several calls in flight."""

DELETIONS = 8

DELIVERIES = 256
"""Concurrent delivery attempts. An attempt mostly waits, and slow receivers must not occupy all of them."""

RETRIES = 64
"""Concurrent attempts at endpoints whose last attempt failed, a queue of their own so that unavailable receivers do not
delay others."""


@dataclass(frozen=True, slots=True)
class Handler:
    """How workers process one kind of leased work. `queue` names a queue of its own if the kind has a second one."""

    work: LeasedWork
    step: Callable[[Context, Claim[Any]], Awaitable[None]]
    concurrency: Callable[[Settings], int]
    claimable: Callable[[Context, str | None], Conditions] = lambda ctx, row_id: ()
    queue: str | None = None

    def bind(self, ctx: Context) -> Queue:
        """The queue for this worker's dispatcher."""
        return Queue(
            name=self.queue or self.work.name,
            work=self.work,
            step=partial(self.step, ctx),
            concurrency=self.concurrency(ctx.settings),
            claimable=partial(self.claimable, ctx),
        )


def _validation_processes(settings: Settings) -> int:
    return settings.validation_processes


def _worker_concurrency(settings: Settings) -> int:
    return settings.worker_concurrency


HANDLERS = (
    Handler(leased_work.JOBS, advance.advance, _worker_concurrency, advance.claimable),
    Handler(leased_work.ACCOUNT_POLLS, account_poller.poll_account, lambda _: ACCOUNT_POLLS),
    Handler(leased_work.SCHEDULING, schedule.run_scheduling_pass, lambda _: 1),
    Handler(leased_work.REPORTS, report.validate, _validation_processes),
    Handler(leased_work.PREPARATIONS, preparation.prepare, _validation_processes),
    Handler(leased_work.LEAKAGE_REPORTS, leakage.compare, _validation_processes),
    Handler(leased_work.RUNS, runs.advance, lambda _: RUNS),
    Handler(leased_work.DELETIONS, carry_out.carry_out, lambda _: DELETIONS),
    Handler(leased_work.DELIVERIES, deliver.deliver, lambda _: DELIVERIES, deliver.claimable),
    Handler(leased_work.DELIVERIES, deliver.deliver, lambda _: RETRIES, deliver.claimable_retries, queue="retries"),
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
