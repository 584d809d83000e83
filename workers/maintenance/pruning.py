"""Old rows go, by documented rules (docs/operations.md). Each statement takes some rows, so that none locks for long.

What a caller may still ask for stays as long as the settings say; the ledger, the jobs, their timelines and the audit
log stay for good.
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
ROUNDS = 50
"""Batches of one rule in one turn; what is left waits for the next, so that no rule keeps the others waiting."""

QUOTE_LIFE = dt.timedelta(days=30)
DELETION_LIFE = dt.timedelta(days=90)


class Rule(NamedTuple):
    """Which rows of a table go."""

    table: type[Base]
    key: tuple[Any, ...]
    outdated: ColumnElement[bool]


def rules(settings: Settings) -> Iterator[Rule]:
    """Every rule, those of rows that refer to others first."""
    ended_before = _before(settings.keep_events_days)
    metrics_before = _before(settings.keep_metrics_days)
    sent_before = _before(settings.keep_deliveries_days)
    yield Rule(RememberedRequest, (RememberedRequest.id,), RememberedRequest.created_at < func.now() - KEY_LIFETIME)
    yield Rule(
        UpstreamWebhook,
        (UpstreamWebhook.account_id, UpstreamWebhook.webhook_id),
        UpstreamWebhook.received_at < func.now() - REPLAY_WINDOW,
    )
    yield Rule(JobEvent, (JobEvent.id,), JobEvent.job_id.in_(select(Job.id).where(Job.finished_at < ended_before)))
    of_ended = select(Run.id).where(Run.finished_at < ended_before)
    yield Rule(RunEvent, (RunEvent.id,), RunEvent.run_id.in_(of_ended))
    yield Rule(RunCall, (RunCall.run_id, RunCall.key), RunCall.run_id.in_(of_ended))
    yield Rule(
        JobMetric,
        (JobMetric.job_id, JobMetric.step),
        JobMetric.job_id.in_(select(Job.id).where(Job.finished_at < metrics_before)),
    )
    told = and_(WebhookDelivery.due_at.is_(None), WebhookDelivery.created_at < sent_before)
    yield Rule(
        WebhookAttempt,
        (WebhookAttempt.delivery_id, WebhookAttempt.attempt),
        WebhookAttempt.delivery_id.in_(select(WebhookDelivery.id).where(told)),
    )
    tried = exists().where(WebhookAttempt.delivery_id == WebhookDelivery.id)
    yield Rule(WebhookDelivery, (WebhookDelivery.id,), and_(told, ~tried))
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


async def prune(ctx: Context) -> dict[str, int]:
    """One turn of every rule. Returns how many rows of which table went."""
    gone: dict[str, int] = {}
    for rule in rules(ctx.settings):
        count = await _apply(ctx, rule)
        if count:
            gone[rule.table.__tablename__] = count
    await _forget_secrets(ctx)
    if gone:
        log.info("pruned", **gone)
    return gone


async def _apply(ctx: Context, rule: Rule) -> int:
    total = 0
    for _ in range(ROUNDS):
        async with ctx.db.worker() as session:
            rows = (await session.execute(select(*rule.key).where(rule.outdated).limit(BATCH))).all()
            if rows:  # what has come to be needed meanwhile is looked at again, and stays
                await session.execute(
                    delete(rule.table)
                    .where(_one_of(rule.key, rows), rule.outdated)
                    .execution_options(synchronize_session=False)
                )
        total += len(rows)
        if len(rows) < BATCH:
            break
    return total


def _one_of(key: tuple[Any, ...], rows: Any) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = (
        key[0].in_([row[0] for row in rows]) if len(key) == 1 else tuple_(*key).in_([tuple(row) for row in rows])
    )
    return condition


async def _forget_secrets(ctx: Context) -> None:
    """Secrets that sign no longer: the old one after a rotation, and all of a deleted endpoint's."""
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
