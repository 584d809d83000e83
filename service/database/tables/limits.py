"""What a project may have, ask and train, and whose turn it is at the upstream accounts."""

import datetime as dt

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, Leased, now


class SchedulingPass(Leased, Base):
    """One row: the work of admitting waiting jobs. Whatever may let a job in makes it due (see `jobs/waiting.py`)."""

    __tablename__ = "admission_turns"
    __table_args__ = (CheckConstraint("id = 'jobs'", name="single"),)

    id: Mapped[str] = mapped_column(primary_key=True)


class ProjectLimits(Base):
    """Limits that most projects do not have: no row, or null, is none."""

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
    """A rate limit that was set: of all of a project's requests (`model` is `*`), or of its inference with a model."""

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
    """What a job may train, and once it has ended what it did train, in the UTC month in which it was accepted."""

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
