"""One attempt of a webhook delivery: read, send, record.

No transaction is open while the message is being sent. After a crash before the record the row stays due and its lease
expires, so the message is sent again with the same `webhook-id`: at least once, never lost. A worker that has lost its
lease records nothing. Attempts that run at the same time share the transactions that read and record them.
"""

import datetime as dt
import random
from functools import partial
from typing import Protocol

import structlog

from service import fault_points
from service.database import leases
from service.database.batched_lookups import BatchedLookups
from service.database.encryption import DecryptionFailed, sealer_of
from service.database.engine import Database
from service.database.group_commit import GroupCommit
from service.database.leases import Claim, LeaseLost
from service.database.tables import WebhookDelivery
from service.settings import Settings
from service.webhooks.outcomes import Outcome, Unreachable
from service.webhooks.schedule import Verdict, verdict
from service.webhooks.secrets import active_secrets
from service.webhooks.sender import Sender
from service.webhooks.signing import signed_headers
from workers.webhooks.attempt import Attempt, Unsendable
from workers.webhooks.messages import Message, read_messages
from workers.webhooks.record import record_attempts

log = structlog.get_logger()


class DeliveryBatches:
    """The transactions that concurrent attempts of one worker share."""

    def __init__(self, db: Database) -> None:
        self.messages: BatchedLookups[str, Message] = BatchedLookups(partial(read_messages, db))
        self.attempts: GroupCommit[Attempt, int | None] = GroupCommit(partial(record_attempts, db))


class DeliveryContext(Protocol):
    """The parts of the worker's context that a delivery uses."""

    @property
    def settings(self) -> Settings:
        """The retry schedule and the master key."""

    @property
    def db(self) -> Database:
        """Opens transactions."""

    @property
    def sender(self) -> Sender:
        """Sends signed messages to endpoints."""

    @property
    def delivery_batches(self) -> DeliveryBatches:
        """Read messages and record attempts."""


async def deliver(ctx: DeliveryContext, claimed: Claim[WebhookDelivery]) -> None:
    """Attempt the claimed delivery once and record the outcome. Returns without an error when the lease is lost."""
    delivery = claimed.row
    try:
        async with leases.heartbeat(ctx.db, claimed):
            message = await ctx.delivery_batches.messages.find(delivery.id)
            if message is None:
                raise LeaseLost(f"{delivery.id} was deleted with its project")
            fault_points.point("deliver.read")
            started_at = dt.datetime.now(dt.UTC)
            outcome = await _send(ctx, message, started_at)
            fault_points.point("deliver.answered")
            attempt = Attempt(
                claimed=claimed,
                message=message,
                started_at=started_at,
                outcome=outcome,
                verdict=_verdict(outcome, delivery, ctx.settings),
            )
            number = await ctx.delivery_batches.attempts.submit(attempt)
            fault_points.point("deliver.recorded")
            if number is None:
                raise LeaseLost(delivery.id)
    except LeaseLost:
        log.info("delivery.lease_lost", delivery=delivery.id)
        return
    status = attempt.status
    log.info("delivery.attempted", delivery=delivery.id, endpoint=delivery.endpoint_id, attempt=number, status=status)


def _verdict(outcome: Outcome | Unsendable, delivery: WebhookDelivery, settings: Settings) -> Verdict | None:
    if isinstance(outcome, Unsendable):
        return None
    return verdict(
        outcome,
        failures_before=delivery.failures,
        schedule_seconds=settings.webhook_schedule_seconds,
        random=random.random(),  # noqa: S311  (jitter)
    )


async def _send(ctx: DeliveryContext, message: Message, now: dt.datetime) -> Outcome | Unsendable:
    endpoint = message.endpoint
    if endpoint.deleted_at is not None:
        return Unsendable("endpoint_deleted: the endpoint was deleted before this was delivered")
    if endpoint.disabled_at is not None:
        return Unsendable(f"endpoint_disabled: {endpoint.disabled_reason or 'the endpoint is disabled'}")
    try:
        secrets = active_secrets(sealer_of(ctx.settings), endpoint, now=now)
    except DecryptionFailed as broken:
        log.error("webhook.secret_unreadable", endpoint=endpoint.id)
        return Unreachable(reason="secret_unreadable", detail=str(broken), latency_ms=0)
    headers = signed_headers(message_id=message.event_id, now=now, body=message.body, secrets=secrets)
    return await ctx.sender.send(endpoint.url, headers, message.body, project_id=endpoint.project_id)
