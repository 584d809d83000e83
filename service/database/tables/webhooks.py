"""Webhook endpoints, events, and deliveries with their attempts."""

import datetime as dt

from sqlalchemy import (
    CheckConstraint,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, Leased, now
from service.states import DeliveryStatus


class WebhookEndpoint(Base):
    """A URL that receives a project's events. The secrets are encrypted; until `old_secret_expires_at` both sign.

    `failing_since` is set while attempts fail, `slow_since` while they succeed slowly; each has a queue of its own.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        Index("ix_webhook_endpoints_project", "project_id", "id", postgresql_where=text("deleted_at IS NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    url: Mapped[str]
    event_types: Mapped[list[str]]
    secret_encrypted: Mapped[bytes]
    secret_hint: Mapped[str]
    old_secret_encrypted: Mapped[bytes | None]
    old_secret_expires_at: Mapped[dt.datetime | None]
    disabled_at: Mapped[dt.datetime | None]
    disabled_reason: Mapped[str | None]
    failing_since: Mapped[dt.datetime | None]
    slow_since: Mapped[dt.datetime | None]
    created_at: Mapped[dt.datetime] = now()
    updated_at: Mapped[dt.datetime] = now()
    deleted_at: Mapped[dt.datetime | None]


class WebhookEvent(Base):
    """An event as it is sent: `body` is signed and sent byte for byte. `position` orders a project's events for readers
    that follow them in sequence (see `outbox.settle`)."""

    __tablename__ = "webhook_events"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        Index("ix_webhook_events_project", "project_id", "id"),
        Index("ix_webhook_events_type", "project_id", "type", "position"),
        Index("ix_webhook_events_position", "project_id", "position"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    type: Mapped[str]
    subject: Mapped[str]
    body: Mapped[bytes]
    position: Mapped[int] = mapped_column(Identity(always=True))
    created_at: Mapped[dt.datetime] = now()


class WebhookDelivery(Leased, Base):
    """The delivery of one event to one endpoint."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        UniqueConstraint("event_id", "endpoint_id"),
        ForeignKeyConstraint(["project_id", "endpoint_id"], ["webhook_endpoints.project_id", "webhook_endpoints.id"]),
        ForeignKeyConstraint(["project_id", "event_id"], ["webhook_events.project_id", "webhook_events.id"]),
        CheckConstraint("status IN ('pending', 'succeeded', 'failed')", name="status"),
        Index(
            "ix_webhook_deliveries_endpoint_due", "endpoint_id", "due_at", postgresql_where=text("due_at IS NOT NULL")
        ),
        Index("ix_webhook_deliveries_under_way", "endpoint_id", postgresql_where=text("leased_until IS NOT NULL")),
        Index("ix_webhook_deliveries_endpoint", "endpoint_id", text("id DESC NULLS LAST")),
        Index("ix_webhook_deliveries_status", "endpoint_id", "status", text("id DESC NULLS LAST")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    endpoint_id: Mapped[str]
    event_id: Mapped[str]
    status: Mapped[DeliveryStatus] = mapped_column(Text, server_default="pending")
    attempts: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[dt.datetime] = now()


class WebhookAttempt(Base):
    """One attempt of a delivery: the response or the error, and the latency."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "delivery_id"], ["webhook_deliveries.project_id", "webhook_deliveries.id"]),
    )

    delivery_id: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project_id: Mapped[str]
    started_at: Mapped[dt.datetime]
    latency_ms: Mapped[int]
    status_code: Mapped[int | None]
    error: Mapped[str | None]
    response: Mapped[str | None]


class RetirementNotice(Base):
    """A notice to a project, `days` or fewer in advance, that a model will be shut down: one for each threshold."""

    __tablename__ = "retirement_notices"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    shutdown_date: Mapped[dt.date] = mapped_column(Date, primary_key=True)
    days: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    created_at: Mapped[dt.datetime] = now()
