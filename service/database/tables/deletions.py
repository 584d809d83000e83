"""Deletions: pending, done and failed."""

import datetime as dt

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, Leased, now
from service.states import DeletionKind, DeletionStatus


class Deletion(Leased, Base):
    """The work of deleting one object, here or upstream. It holds ids only, never content.

    `subject` is the id of a file, an upstream file, a model or a project. Upstream objects have `account_id` and
    `upstream_id`; an upstream file whose upload had no response has no `upstream_id` and is found by its name.
    """

    __tablename__ = "deletions"
    __table_args__ = (
        CheckConstraint("kind IN ('file', 'upstream_file', 'upstream_model', 'project')", name="kind"),
        CheckConstraint("status IN ('pending', 'done', 'failed')", name="status"),
        CheckConstraint("(status = 'pending') = (finished_at IS NULL)", name="finished"),
        CheckConstraint("status = 'pending' OR due_at IS NULL", name="ended"),
        CheckConstraint("(kind IN ('upstream_file', 'upstream_model')) = (account_id IS NOT NULL)", name="account"),
        CheckConstraint("kind <> 'upstream_file' OR (sha256 IS NOT NULL AND size_bytes IS NOT NULL)", name="content"),
        CheckConstraint("kind <> 'upstream_model' OR upstream_id IS NOT NULL", name="model"),
        Index("uq_deletions_subject", "kind", "subject", unique=True, postgresql_where=text("status <> 'done'")),
        Index("ix_deletions_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index(
            "ix_deletions_project_due",
            "project_id",
            text("due_at NULLS FIRST"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index("ix_deletions_project", "project_id", "id"),
        Index("ix_deletions_open", "project_id", postgresql_where=text("status <> 'done'")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[DeletionKind] = mapped_column(Text)
    subject: Mapped[str]
    account_id: Mapped[str | None] = mapped_column(ForeignKey("upstream_accounts.id"))
    upstream_id: Mapped[str | None]
    sha256: Mapped[str | None]
    size_bytes: Mapped[int | None]
    status: Mapped[DeletionStatus] = mapped_column(Text, server_default="pending")
    last_error: Mapped[str | None]
    created_at: Mapped[dt.datetime] = now()
    finished_at: Mapped[dt.datetime | None]
