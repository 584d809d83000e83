"""What workers do for each kind of leased work: its step, how many steps run at a time, and what may be claimed.

A new kind is one line in `service/database/leased_work.py`, one line here, and a file with its step.
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

POLLED_ACCOUNTS = 64
"""Accounts that are listed at a time: each is a call that mostly waits, and one that hangs must not delay others."""

RUNS = 8
"""Generations and comparisons that have a time slice at a time; each has several calls under way."""

DELETIONS = 8

DELIVERIES = 256
"""Attempts at a time: each is a socket that mostly waits, and slow receivers must not use all of them."""

RETRIES = 64
"""The same for endpoints whose last attempt failed, kept apart so that dead receivers use up no others' places."""


@dataclass(frozen=True, slots=True)
class Handler:
    """How one kind of leased work is done; `retries` names a second queue of the same kind."""

    work: LeasedWork
    step: Callable[[Context, Claim[Any]], Awaitable[None]]
    concurrency: Callable[[Settings], int]
    claimable: Callable[[Context, str | None], Conditions] = lambda ctx, row_id: ()
    queue: str | None = None

    def bind(self, ctx: Context) -> Queue:
        """The queue of this worker."""
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
    Handler(leased_work.ACCOUNT_POLLS, account_poller.poll_account, lambda _: POLLED_ACCOUNTS),
    Handler(leased_work.SCHEDULING, schedule.run_scheduling_pass, lambda _: 1),
    Handler(leased_work.REPORTS, report.validate, _validation_processes),
    Handler(leased_work.PREPARATIONS, preparation.prepare, _validation_processes),
    Handler(leased_work.LEAKAGE_REPORTS, leakage.compare, lambda _: 1),
    Handler(leased_work.RUNS, runs.advance, lambda _: RUNS),
    Handler(leased_work.DELETIONS, carry_out.carry_out, lambda _: DELETIONS),
    Handler(leased_work.DELIVERIES, deliver.deliver, lambda _: DELIVERIES, deliver.claimable),
    Handler(leased_work.DELIVERIES, deliver.deliver, lambda _: RETRIES, deliver.claimable_retries, queue="retries"),
)

if missing := set(leased_work.ALL) - {handler.work for handler in HANDLERS}:
    raise RuntimeError(f"No handler for the leased work {sorted(work.name for work in missing)}.")


def dispatcher_of(ctx: Context) -> Dispatcher:
    """A dispatcher with every kind of leased work."""
    return Dispatcher(
        ctx.db,
        [handler.bind(ctx) for handler in HANDLERS],
        lease_seconds=ctx.settings.lease_seconds,
        every_seconds=ctx.settings.reconcile_seconds,
    )
