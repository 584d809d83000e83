"""The audit log of changes and refusals."""

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, now
from service.states import AuditActorKind, RefusalKind


class AuditLog(Base):
    """One change or refusal. Append-only: the service's role may only insert and read rows.

    It has no foreign keys, so that it outlives the projects, keys and objects that it describes. The names are those
    at the time of the change; that of a file is in `files` alone, from which a project's deletion removes it.
    """

    __tablename__ = "audit_logs"
    __table_args__ = (
        CheckConstraint("actor IN ('api_key', 'session', 'system')", name="actor"),
        Index("ix_audit_logs_project", "project_id", "id"),
        Index("ix_audit_logs_type", "type", "id"),
        Index("ix_audit_logs_resource", "resource_id", "id"),
        Index("ix_audit_logs_key", "key_id", "id"),
        Index("ix_audit_logs_effective", "effective_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str | None]
    type: Mapped[str]
    effective_at: Mapped[dt.datetime] = now()
    actor: Mapped[AuditActorKind] = mapped_column(Text)
    key_id: Mapped[str | None]
    key_name: Mapped[str | None]
    service_account_id: Mapped[str | None]
    service_account_name: Mapped[str | None]
    ip_address: Mapped[str | None]
    request_id: Mapped[str | None]
    resource_id: Mapped[str | None]
    resource_name: Mapped[str | None]
    detail: Mapped[dict[str, Any]] = mapped_column(server_default="{}")


class Refusal(Base):
    """The number of refusals of one kind for one key in one minute, which share one entry in `audit_logs`.

    Those of unknown keys are counted for an hour, and `minute` is its first one.
    """

    __tablename__ = "refusals"
    __table_args__ = (UniqueConstraint("kind", "subject", "minute"), CheckConstraint("count > 0", name="count"))

    audit_log_id: Mapped[str] = mapped_column(ForeignKey("audit_logs.id"), primary_key=True)
    kind: Mapped[RefusalKind] = mapped_column(Text)
    subject: Mapped[str]
    minute: Mapped[dt.datetime]
    count: Mapped[int] = mapped_column(server_default="1")
