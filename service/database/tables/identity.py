"""Projects (the tenants), their service accounts, and API keys."""

import datetime as dt

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, now
from service.states import KeyKind, ProjectStatus, ServiceAccountRole


class Gateway(Base):
    """One row: the id of this gateway, with which it labels upstream jobs, and the first compatible revision."""

    __tablename__ = "gateway"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    instance: Mapped[str]
    compatible_from: Mapped[int] = mapped_column(server_default="1")


class Project(Base):
    """A tenant and its limits. A null limit means no limit."""

    __tablename__ = "projects"
    __table_args__ = (
        CheckConstraint("status IN ('active', 'archived', 'deleting', 'deleted')", name="status"),
        CheckConstraint("spend_limit_micros >= 0", name="spend_limit"),
        CheckConstraint("retention_days > 0", name="retention"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    status: Mapped[ProjectStatus] = mapped_column(Text, server_default="active")
    created_at: Mapped[dt.datetime] = now()
    archived_at: Mapped[dt.datetime | None]
    max_active_jobs: Mapped[int | None] = mapped_column(server_default="100")
    max_queued_jobs: Mapped[int | None] = mapped_column(server_default="1000")
    spend_limit_micros: Mapped[int | None]
    retention_days: Mapped[int | None]


class ServiceAccount(Base):
    """The owner of a project's keys. Its role limits what its keys can do: with `none`, nothing."""

    __tablename__ = "service_accounts"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        CheckConstraint("role IN ('owner', 'member', 'none')", name="role"),
        Index("ix_service_accounts_project", "project_id", "id", postgresql_where=text("deleted_at IS NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    role: Mapped[ServiceAccountRole] = mapped_column(Text, server_default="member")
    created_at: Mapped[dt.datetime] = now()
    deleted_at: Mapped[dt.datetime | None]


class ApiKey(Base):
    """A key's SHA-256 and scopes. Admin keys belong to no project; empty `scopes` allow everything."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("(kind = 'project') = (project_id IS NOT NULL)", name="owner"),
        CheckConstraint("kind IN ('project', 'admin')", name="kind"),
        CheckConstraint("service_account_id IS NULL OR project_id IS NOT NULL", name="service_account"),
        ForeignKeyConstraint(
            ["project_id", "service_account_id"], ["service_accounts.project_id", "service_accounts.id"]
        ),
        Index("ix_api_keys_project", "project_id", "id", postgresql_where=text("revoked_at IS NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    service_account_id: Mapped[str | None]
    kind: Mapped[KeyKind] = mapped_column(Text)
    name: Mapped[str]
    sha256: Mapped[bytes] = mapped_column(unique=True)
    redacted_value: Mapped[str] = mapped_column("hint")
    scopes: Mapped[list[str]] = mapped_column(server_default="{}")
    created_at: Mapped[dt.datetime] = now()
    last_used_at: Mapped[dt.datetime | None]
    expires_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]


class CheckpointPermission(Base):
    """A tuned model or checkpoint of another project that `project_id` may use while the row exists."""

    __tablename__ = "checkpoint_permissions"
    __table_args__ = (
        UniqueConstraint("project_id", "model"),
        Index("ix_checkpoint_permissions_model", "model", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    model: Mapped[str]
    created_at: Mapped[dt.datetime] = now()
