"""Deletes old rows, by the rules in docs/operations.md, in small batches so that no statement locks rows for long.

Rows that callers can still read are kept as long as the settings say. The ledger, jobs, their timelines and the audit
log are never pruned.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any, NamedTuple

import structlog
from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, tuple_, update

from service.database.tables import (
    Base,
    Deletion,
    Job,
    JobEvent,
    JobMetric,
    Quote,
    RememberedRequest,
    Run,
    RunCall,
    RunEvent,
    UpstreamWebhook,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from service.http.idempotency import KEY_LIFETIME
from service.settings import Settings
from service.upstreams.inbound_webhooks import REPLAY_WINDOW
from workers.context import Context

log = structlog.get_logger()

BATCH = 1000
MAX_BATCHES = 50
"""Batches of one rule in one run. The rest follows in the next run, so that no rule delays the others."""

QUOTE_LIFE = dt.timedelta(days=30)
DELETION_LIFE = dt.timedelta(days=90)


class Rule(NamedTuple):
    """The condition for rows of a table to be deleted, and the primary key."""

    table: type[Base]
    key: tuple[Any, ...]
    is_old: ColumnElement[bool]


def rules(settings: Settings) -> Iterator[Rule]:
    """Every rule; rows that refer to others come before those they refer to."""
    events_before = _before(settings.keep_events_days)
    metrics_before = _before(settings.keep_metrics_days)
    sent_before = _before(settings.keep_deliveries_days)
    yield Rule(RememberedRequest, (RememberedRequest.id,), RememberedRequest.created_at < func.now() - KEY_LIFETIME)
    yield Rule(
        UpstreamWebhook,
        (UpstreamWebhook.account_id, UpstreamWebhook.webhook_id),
        UpstreamWebhook.received_at < func.now() - REPLAY_WINDOW,
    )
    yield Rule(JobEvent, (JobEvent.id,), JobEvent.job_id.in_(select(Job.id).where(Job.finished_at < events_before)))
    ended_runs = select(Run.id).where(Run.finished_at < events_before)
    yield Rule(RunEvent, (RunEvent.id,), RunEvent.run_id.in_(ended_runs))
    yield Rule(RunCall, (RunCall.run_id, RunCall.key), RunCall.run_id.in_(ended_runs))
    yield Rule(
        JobMetric,
        (JobMetric.job_id, JobMetric.step),
        JobMetric.job_id.in_(select(Job.id).where(Job.finished_at < metrics_before)),
    )
    settled = and_(WebhookDelivery.due_at.is_(None), WebhookDelivery.created_at < sent_before)
    yield Rule(
        WebhookAttempt,
        (WebhookAttempt.delivery_id, WebhookAttempt.attempt),
        WebhookAttempt.delivery_id.in_(select(WebhookDelivery.id).where(settled)),
    )
    attempted = exists().where(WebhookAttempt.delivery_id == WebhookDelivery.id)
    yield Rule(WebhookDelivery, (WebhookDelivery.id,), and_(settled, ~attempted))
    delivered = exists().where(WebhookDelivery.event_id == WebhookEvent.id)
    yield Rule(WebhookEvent, (WebhookEvent.id,), and_(WebhookEvent.created_at < sent_before, ~delivered))
    known = exists().where(WebhookDelivery.endpoint_id == WebhookEndpoint.id)
    yield Rule(WebhookEndpoint, (WebhookEndpoint.id,), and_(WebhookEndpoint.deleted_at < sent_before, ~known))
    bound = exists().where(Job.project_id == Quote.project_id, Job.quote_id == Quote.id)
    yield Rule(Quote, (Quote.id,), and_(Quote.expires_at < func.now() - QUOTE_LIFE, ~bound))
    yield Rule(
        Deletion,
        (Deletion.id,),
        and_(Deletion.status == "done", Deletion.kind != "project", Deletion.finished_at < func.now() - DELETION_LIFE),
    )


async def prune(ctx: Context, *, batch: int = BATCH, max_batches: int = MAX_BATCHES) -> dict[str, int]:
    """Apply every rule once, in at most `max_batches` of `batch` rows. Returns the number of deleted rows by table."""
    deleted: dict[str, int] = {}
    for rule in rules(ctx.settings):
        count = await _apply(ctx, rule, batch, max_batches)
        if count:
            deleted[rule.table.__tablename__] = count
    await _erase_secrets(ctx)
    if deleted:
        log.info("rows.pruned", **deleted)
    return deleted


async def _apply(ctx: Context, rule: Rule, batch: int, max_batches: int) -> int:
    total = 0
    for _ in range(max_batches):
        async with ctx.db.worker() as session:
            rows = (await session.execute(select(*rule.key).where(rule.is_old).limit(batch))).all()
            if rows:  # the condition again: a row may have come into use since
                await session.execute(
                    delete(rule.table)
                    .where(_one_of(rule.key, rows), rule.is_old)
                    .execution_options(synchronize_session=False)
                )
        total += len(rows)
        if len(rows) < batch:
            break
    return total


def _one_of(key: tuple[Any, ...], rows: Any) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = (
        key[0].in_([row[0] for row in rows]) if len(key) == 1 else tuple_(*key).in_([tuple(row) for row in rows])
    )
    return condition


async def _erase_secrets(ctx: Context) -> None:
    """Erase signing secrets that are out of use: the old one after a rotation, and all of a deleted endpoint."""
    async with ctx.db.worker() as session:
        await session.execute(
            update(WebhookEndpoint)
            .where(
                WebhookEndpoint.old_secret_encrypted.is_not(None),
                or_(WebhookEndpoint.old_secret_expires_at <= func.now(), WebhookEndpoint.deleted_at.is_not(None)),
            )
            .values(old_secret_encrypted=None, old_secret_expires_at=None)
        )
        await session.execute(
            update(WebhookEndpoint)
            .where(WebhookEndpoint.deleted_at.is_not(None), WebhookEndpoint.secret_encrypted != b"")
            .values(secret_encrypted=b"")
        )


def _before(days: float) -> Any:
    return func.now() - dt.timedelta(days=days)
