"""Aliases (stable names for models) and the history of their promotions."""

import datetime as dt

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Text, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, now
from service.states import AliasAction


class ModelAlias(Base):
    """A project's stable name for a model. `model` is that of its newest promotion, whose number is `version`."""

    __tablename__ = "model_aliases"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        UniqueConstraint("project_id", "name"),
        CheckConstraint("version > 0", name="version"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    model: Mapped[str]
    version: Mapped[int]
    created_at: Mapped[dt.datetime] = now()
    updated_at: Mapped[dt.datetime] = now()


class AliasPromotion(Base):
    """One promotion in an alias's history, append-only. `undo_version` is the version that a roll-back returns to."""

    __tablename__ = "alias_promotions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["project_id", "alias_id"], ["model_aliases.project_id", "model_aliases.id"], ondelete="CASCADE"
        ),
        CheckConstraint("action IN ('created', 'promoted', 'rolled_back', 'deployed')", name="action"),
        CheckConstraint("(key_id IS NULL) <> (job_id IS NULL)", name="by"),
        CheckConstraint("(action = 'deployed') = (job_id IS NOT NULL)", name="deployed"),
        CheckConstraint("undo_version < version", name="undo_version"),
    )

    alias_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project_id: Mapped[str]
    model: Mapped[str]
    action: Mapped[AliasAction] = mapped_column(Text)
    reason: Mapped[str | None]
    key_id: Mapped[str | None]
    job_id: Mapped[str | None]
    undo_version: Mapped[int | None]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())
