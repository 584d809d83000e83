"""Runs of many inference calls (generations of datasets, comparisons of models), their calls and their events."""

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, Leased, now
from service.states import RunEventLevel, RunEventType, RunKind, RunStatus


class Run(Leased, Base):
    """A run: its options, its progress and its cost (see `service/runs`).

    The counters of cost and tokens are updated in the transactions that post to the ledger; `budget_micros` bounds the
    sum of what is posted and reserved. `total` and `done` count what the run makes: examples of a generation, cases of
    a comparison. `calls` is the number of answered calls, `last_answer_at` the time of the last answer; `failures`
    counts the failed attempts since then.
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
        Index("ix_runs_project", "project_id", "kind", text("id DESC NULLS LAST")),
        Index("ix_runs_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index(
            "ix_runs_project_due", "project_id", text("due_at NULLS FIRST"), postgresql_where=text("due_at IS NOT NULL")
        ),
        Index("ix_runs_input", "input_file_id", postgresql_where=text("input_file_id IS NOT NULL")),
        Index("ix_runs_output", "output_file_id", postgresql_where=text("output_file_id IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    api_key_id: Mapped[str]
    kind: Mapped[RunKind] = mapped_column(Text)
    status: Mapped[RunStatus] = mapped_column(Text, server_default="pending")
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
    last_answer_at: Mapped[dt.datetime] = mapped_column("news_at", server_default=func.now())
    finished_at: Mapped[dt.datetime | None]


class RunCall(Base):
    """One answered call of a run. `key` identifies it within the plan, so that a resumed run does not repeat it.

    `subject` is its subject in the ledger. `refusal` is set instead of `message` for a call that the upstream refused.
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
    """An event of a run, for its caller; ordered by `sequence`."""

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
    level: Mapped[RunEventLevel] = mapped_column(Text)
    type: Mapped[RunEventType] = mapped_column(Text)
    message: Mapped[str]
    data: Mapped[dict[str, Any] | None]
    created_at: Mapped[dt.datetime] = now()
