"""What is still to be deleted, and what was."""

import datetime as dt

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, Leased, now


class Deletion(Leased, Base):
    """One thing that has to go, here or upstream, and the work of it. It names ids only, never what was in them.

    `subject` is a file's, an upstream copy's, a model's or a project's id. Upstream things have their account and the
    name that they have there; a copy whose upload was never answered has no name yet and is looked for by its content.
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
        Index("ix_deletions_project", "project_id", "id"),
        Index("ix_deletions_open", "project_id", postgresql_where=text("status <> 'done'")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str]
    subject: Mapped[str]
    account_id: Mapped[str | None] = mapped_column(ForeignKey("upstream_accounts.id"))
    upstream_id: Mapped[str | None]
    sha256: Mapped[str | None]
    size_bytes: Mapped[int | None]
    status: Mapped[str] = mapped_column(server_default="pending")
    last_error: Mapped[str | None]
    created_at: Mapped[dt.datetime] = now()
    finished_at: Mapped[dt.datetime | None]
