"""A project's limits on storage, requests and training tokens, and the scheduling pass."""

import datetime as dt

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, Leased, now


class SchedulingPass(Leased, Base):
    """The scheduling pass, a single row. Every change that may admit a waiting job makes it due.

    See `service/limits/scheduling_pass.py`.
    """

    __tablename__ = "admission_turns"
    __table_args__ = (CheckConstraint("id = 'jobs'", name="single"),)

    id: Mapped[str] = mapped_column(primary_key=True)


class ProjectLimits(Base):
    """Limits that most projects do not have. Without a row, or where a column is null, there is no limit."""

    __tablename__ = "project_limits"
    __table_args__ = (
        CheckConstraint("max_storage_bytes >= 0", name="storage"),
        CheckConstraint("max_file_bytes > 0", name="file"),
        CheckConstraint("max_training_tokens_per_month >= 0", name="training_tokens"),
        CheckConstraint("max_requests_per_key_per_1_minute > 0", name="key_requests"),
    )

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    max_storage_bytes: Mapped[int | None]
    max_file_bytes: Mapped[int | None]
    max_training_tokens_per_month: Mapped[int | None]
    max_requests_per_key_per_1_minute: Mapped[int | None]


class RateLimit(Base):
    """A configured rate limit: for all requests of a project (`model` is `*`), or for its inference with one model."""

    __tablename__ = "rate_limits"
    __table_args__ = (
        CheckConstraint("max_requests_per_1_minute > 0", name="requests"),
        CheckConstraint("max_tokens_per_1_minute > 0", name="tokens"),
    )

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    max_requests_per_1_minute: Mapped[int | None]
    max_tokens_per_1_minute: Mapped[int | None]


class TrainingTokens(Base):
    """The training tokens that a job reserves, and trained once it has ended, in the UTC month of its creation."""

    __tablename__ = "training_tokens"
    __table_args__ = (
        CheckConstraint("reserved_tokens >= 0 AND trained_tokens >= 0", name="amounts"),
        Index("ix_training_tokens_month", "project_id", "month"),
    )

    job_id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    month: Mapped[dt.date]
    reserved_tokens: Mapped[int]
    trained_tokens: Mapped[int | None]
    created_at: Mapped[dt.datetime] = now()
