"""Experiments: jobs that differ by their settings or their share of the data, under one budget."""

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, Leased, now
from service.states import ExperimentStatus, PromotionStatus


class Experiment(Leased, Base):
    """An experiment (see `service/experiments`): what its caller requested, and how far it is.

    `request` is the body of the create without its arms, which are rows of their own. `budget_micros` bounds the sum of
    what the arms and the comparison have cost and reserved; the ledger has these amounts. `outcome` has the
    recommendation and the estimate of what more data would give. A cancel is requested (`cancel_requested_at`) before
    it is carried out.
    """

    __tablename__ = "experiments"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        ForeignKeyConstraint(["project_id", "training_file_id"], ["files.project_id", "files.id"]),
        ForeignKeyConstraint(["project_id", "validation_file_id"], ["files.project_id", "files.id"]),
        CheckConstraint(
            "status IN ('pending', 'running', 'comparing', 'succeeded', 'failed', 'cancelled')", name="status"
        ),
        CheckConstraint("(status IN ('pending', 'running', 'comparing')) = (finished_at IS NULL)", name="finished"),
        CheckConstraint("finished_at IS NULL OR due_at IS NULL", name="ended"),
        CheckConstraint("(status = 'failed') = (error_code IS NOT NULL)", name="has_error"),
        CheckConstraint("budget_micros >= 0 AND max_parallel > 0", name="bounds"),
        CheckConstraint("promotion_status IN ('promoted', 'refused')", name="promotion_status"),
        Index("ix_experiments_project", "project_id", text("id DESC NULLS LAST")),
        Index("ix_experiments_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index(
            "ix_experiments_project_due",
            "project_id",
            text("due_at NULLS FIRST"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index("ix_experiments_unfinished", "project_id", postgresql_where=text("finished_at IS NULL")),
        Index("ix_experiments_run", "comparison_run_id", postgresql_where=text("comparison_run_id IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    api_key_id: Mapped[str]
    status: Mapped[ExperimentStatus] = mapped_column(Text, server_default="pending")
    request: Mapped[dict[str, Any]]
    training_file_id: Mapped[str]
    validation_file_id: Mapped[str | None]
    budget_micros: Mapped[int]
    max_parallel: Mapped[int]
    comparison_run_id: Mapped[str | None]
    comparison_detail: Mapped[str | None]
    promotion_status: Mapped[PromotionStatus | None] = mapped_column(Text)
    promotion_detail: Mapped[str | None]
    outcome: Mapped[dict[str, Any] | None]
    waiting_reason: Mapped[str | None]
    cancel_requested_at: Mapped[dt.datetime | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    error_param: Mapped[str | None]
    created_at: Mapped[dt.datetime] = now()
    finished_at: Mapped[dt.datetime | None]


class ExperimentArm(Base):
    """One arm: its settings, its estimated cost, and the job that was created for it, once.

    `training_file_id` is the file with the arm's share of the data, once that has been made. `skipped_reason` says why
    no job was created, `stopped_reason` why its job was cancelled before its end.
    """

    __tablename__ = "experiment_arms"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "experiment_id"], ["experiments.project_id", "experiments.id"]),
        ForeignKeyConstraint(["project_id", "training_file_id"], ["files.project_id", "files.id"]),
        CheckConstraint("job_id IS NULL OR skipped_reason IS NULL", name="started_or_skipped"),
        Index("ix_experiment_arms_file", "training_file_id", postgresql_where=text("training_file_id IS NOT NULL")),
    )

    experiment_id: Mapped[str] = mapped_column(primary_key=True)
    arm: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project_id: Mapped[str]
    settings: Mapped[dict[str, Any]]
    examples: Mapped[int]
    expected_micros: Mapped[int]
    upper_micros: Mapped[int]
    training_file_id: Mapped[str | None]
    job_id: Mapped[str | None]
    skipped_reason: Mapped[str | None]
    stopped_reason: Mapped[str | None]
