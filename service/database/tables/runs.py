"""Runs of many calls of inference: generations of datasets, comparisons of models; their calls and their events."""

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, Leased, now


class Run(Leased, Base):
    """What was asked for, how far it is, and what it cost (see `service/runs`).

    The counters of cost and tokens follow the ledger, in the transactions that post to it; `budget_micros` bounds what
    is posted and reserved together. `total` and `done` are counted in what the run makes: examples, or rows.
    `calls` is how many are answered. `news_at` is when the last one was; `failures` counts since then.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        ForeignKeyConstraint(["project_id", "input_file_id"], ["files.project_id", "files.id"]),
        ForeignKeyConstraint(["project_id", "output_file_id"], ["files.project_id", "files.id"]),
        CheckConstraint("kind IN ('generation', 'comparison')", name="kind"),
        CheckConstraint("status IN ('pending', 'running', 'succeeded', 'failed', 'cancelled')", name="status"),
        CheckConstraint("(status IN ('pending', 'running')) = (finished_at IS NULL)", name="finished"),
        CheckConstraint("finished_at IS NULL OR due_at IS NULL", name="ended"),
        CheckConstraint("status <> 'succeeded' OR outcome IS NOT NULL", name="has_outcome"),
        CheckConstraint("(status = 'failed') = (error_code IS NOT NULL)", name="has_error"),
        CheckConstraint("budget_micros >= 0 AND cost_micros >= 0", name="amounts"),
        CheckConstraint("concurrency > 0", name="concurrency"),
        CheckConstraint("done >= 0 AND done <= total", name="progress"),
        Index("ix_runs_project", "project_id", "kind", "id"),
        Index("ix_runs_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_runs_input", "input_file_id", postgresql_where=text("input_file_id IS NOT NULL")),
        Index("ix_runs_output", "output_file_id", postgresql_where=text("output_file_id IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    api_key_id: Mapped[str]
    kind: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending")
    options: Mapped[dict[str, Any]]
    concurrency: Mapped[int]
    budget_micros: Mapped[int]
    cost_micros: Mapped[int] = mapped_column(server_default="0")
    input_tokens: Mapped[int] = mapped_column(server_default="0")
    output_tokens: Mapped[int] = mapped_column(server_default="0")
    total: Mapped[int]
    done: Mapped[int] = mapped_column(server_default="0")
    calls: Mapped[int] = mapped_column(server_default="0")
    input_file_id: Mapped[str | None]
    output_file_id: Mapped[str | None]
    outcome: Mapped[dict[str, Any] | None]
    waiting_reason: Mapped[str | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    error_param: Mapped[str | None]
    last_sequence: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[dt.datetime] = now()
    news_at: Mapped[dt.datetime] = now()
    finished_at: Mapped[dt.datetime | None]


class RunCall(Base):
    """One finished call of a run. `key` names it by what it is for, so a run that goes on knows what it has asked.

    `subject` is its entry in the ledger. `refusal` is set instead of `message` when the upstream refused it for good.
    """

    __tablename__ = "run_calls"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "run_id"], ["runs.project_id", "runs.id"]),
        CheckConstraint("(message IS NULL) <> (refusal IS NULL)", name="answered"),
    )

    run_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    model: Mapped[str]
    message: Mapped[dict[str, Any] | None]
    refusal: Mapped[str | None]
    finish_reason: Mapped[str | None]
    input_tokens: Mapped[int] = mapped_column(server_default="0")
    output_tokens: Mapped[int] = mapped_column(server_default="0")
    cost_micros: Mapped[int] = mapped_column(server_default="0")
    subject: Mapped[str]
    created_at: Mapped[dt.datetime] = now()


class RunEvent(Base):
    """What a run tells, in order."""

    __tablename__ = "run_events"
    __table_args__ = (
        UniqueConstraint("run_id", "sequence"),
        ForeignKeyConstraint(["project_id", "run_id"], ["runs.project_id", "runs.id"]),
        CheckConstraint("level IN ('info', 'warn', 'error')", name="level"),
        CheckConstraint("type IN ('message', 'progress')", name="type"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    run_id: Mapped[str]
    sequence: Mapped[int]
    level: Mapped[str]
    type: Mapped[str]
    message: Mapped[str]
    data: Mapped[dict[str, Any] | None]
    created_at: Mapped[dt.datetime] = now()
