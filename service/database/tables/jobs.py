"""Fine-tuning jobs, with their events, metrics and timeline, and the models that they made."""

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, Leased, now
from service.states import CreatePhase, DeployStatus, EventLevel, EventType, ModelKind, State

LISTED_BY = (
    "cost_micros",
    "expected_micros",
    "duration_seconds",
    "train_loss",
    "valid_loss",
    "best_valid_loss",
    "tokens_per_second",
    "trained_tokens",
    "state",
    "model",
    "api_key_id",
)
"""The columns by which lists of jobs are sorted or filtered. Their indexes have ended jobs only, so that each job is
written once: unfinished ones are few."""

ENDED = text("finished_at IS NOT NULL")


class Quote(Base):
    """A price that is binding until it expires, for a job with exactly this `request`.

    With a price by GPU-second `price_micros_per_million` is 0, and `gpu_estimate` has the estimated GPU-seconds.
    """

    __tablename__ = "quotes"
    __table_args__ = (UniqueConstraint("project_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    request: Mapped[dict[str, Any]]
    n_epochs: Mapped[int]
    billable_tokens: Mapped[int]
    price_micros_per_million: Mapped[int]
    low_micros: Mapped[int]
    expected_micros: Mapped[int]
    upper_micros: Mapped[int]
    price_micros_per_gpu_second: Mapped[int | None]
    gpu_estimate: Mapped[dict[str, Any] | None]
    created_at: Mapped[dt.datetime] = now()
    expires_at: Mapped[dt.datetime]


class Job(Leased, Base):
    """A fine-tuning job: the caller's request, the job's state, and its upstream job.

    `upstream_snapshot` is the upstream job as it was last read; an entry of a list that differs from it is an update.
    `polled_at` is the time of the last poll of this job alone, `last_viewed_at` the last request of a caller for the
    job or its events, checkpoints or metrics, and `last_update_at` the last update. `stalled_at` is set while a job
    has received no update within its state's deadline. `gpu_seconds` are those that the upstream has metered so far;
    with a price by GPU-second, `price_micros_per_million` is 0. `upstream_queue_place` is its place at the upstream.

    The losses summarise `job_metrics`: the last one and the lowest one, with their steps. `valid_loss_is_full` says
    that those of the validation are of its whole file, not of batches. `duration_seconds` is set when the job ends.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        ForeignKeyConstraint(["project_id", "training_file_id"], ["files.project_id", "files.id"]),
        ForeignKeyConstraint(["project_id", "validation_file_id"], ["files.project_id", "files.id"]),
        ForeignKeyConstraint(["project_id", "quote_id"], ["quotes.project_id", "quotes.id"]),
        UniqueConstraint("account_id", "upstream_job_id"),
        CheckConstraint(
            "state IN ('validating', 'waiting', 'uploading', 'creating', 'running', 'settling', "
            "'succeeded', 'failed', 'cancelled')",
            name="state",
        ),
        CheckConstraint("create_phase IN ('idle', 'intent', 'created')", name="create_phase"),
        CheckConstraint("(state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", name="finished"),
        CheckConstraint("state <> 'failed' OR error_code IS NOT NULL", name="failed_has_error"),
        CheckConstraint("state <> 'succeeded' OR fine_tuned_model IS NOT NULL", name="succeeded_has_model"),
        CheckConstraint("(create_phase = 'created') = (upstream_job_id IS NOT NULL)", name="created"),
        CheckConstraint("state NOT IN ('running', 'settling') OR upstream_job_id IS NOT NULL", name="running"),
        CheckConstraint("trained_tokens >= 0", name="trained_tokens"),
        CheckConstraint("gpu_seconds >= 0 AND gpu_seconds < 'Infinity'", name="gpu_seconds"),
        CheckConstraint("budget_micros > 0", name="budget"),
        CheckConstraint(
            "deploy_status IS NULL OR (deploy_status IN ('comparing', 'deployed', 'refused') "
            "AND deploy_alias IS NOT NULL)",
            name="deploy_status",
        ),
        CheckConstraint("seed BETWEEN 0 AND 2147483647", name="seed"),
        Index("ix_jobs_project", "project_id", text("id DESC NULLS LAST")),
        Index("ix_jobs_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index(
            "ix_jobs_project_due", "project_id", text("due_at NULLS FIRST"), postgresql_where=text("due_at IS NOT NULL")
        ),
        Index("ix_jobs_account_state", "account_id", "state"),
        Index(
            "ix_jobs_without_metadata",
            "project_id",
            text("id DESC NULLS LAST"),
            postgresql_where=text("metadata IS NULL"),
        ),
        Index("ix_jobs_unfinished", "project_id", "state", postgresql_where=text("finished_at IS NULL")),
        Index("ix_jobs_training_file", "training_file_id"),
        Index("ix_jobs_validation_file", "validation_file_id", postgresql_where=text("validation_file_id IS NOT NULL")),
        Index("ix_jobs_waiting", "project_id", "created_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_jobs_admitted", "account_id", "project_id", "admitted_at"),
        Index("ix_jobs_comparing", "id", postgresql_where=text("deploy_status = 'comparing'")),
        Index("ix_jobs_succeeded", "finished_at", postgresql_where=text("state = 'succeeded'")),
        *(Index(f"ix_jobs_ended_{name}", "project_id", name, "id", postgresql_where=ENDED) for name in LISTED_BY),
        ForeignKeyConstraint(["project_id", "experiment_id"], ["experiments.project_id", "experiments.id"]),
        CheckConstraint("(experiment_id IS NULL) = (experiment_arm IS NULL)", name="experiment"),
        Index(
            "ix_jobs_experiment",
            "experiment_id",
            "experiment_arm",
            unique=True,
            postgresql_where=text("experiment_id IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    state: Mapped[State] = mapped_column(Text)
    model: Mapped[str]
    training_file_id: Mapped[str]
    validation_file_id: Mapped[str | None]
    suffix: Mapped[str | None]
    seed: Mapped[int]
    caller_metadata: Mapped[dict[str, str] | None] = mapped_column("metadata")
    integrations: Mapped[list[Any] | None]
    method: Mapped[dict[str, Any]]
    adapter: Mapped[dict[str, Any] | None]
    n_epochs: Mapped[int | None]
    quote_id: Mapped[str | None]
    price_micros_per_million: Mapped[int | None]
    price_micros_per_gpu_second: Mapped[int | None]
    gpu_estimate: Mapped[dict[str, Any] | None]
    expected_micros: Mapped[int | None]
    budget_micros: Mapped[int | None]
    priority: Mapped[int] = mapped_column(server_default="0")
    deploy_alias: Mapped[str | None]
    deploy_status: Mapped[DeployStatus | None] = mapped_column(Text)
    deploy_detail: Mapped[str | None]
    deploy_comparison: Mapped[dict[str, Any] | None]
    deploy_run_id: Mapped[str | None]
    experiment_id: Mapped[str | None]
    experiment_arm: Mapped[int | None]
    created_at: Mapped[dt.datetime] = now()
    admitted_at: Mapped[dt.datetime | None]
    started_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
    estimated_finish_at: Mapped[dt.datetime | None]
    cancel_requested_at: Mapped[dt.datetime | None]
    pause_requested: Mapped[bool] = mapped_column(server_default="false")
    pause_sent: Mapped[bool] = mapped_column(server_default="false")
    waiting_reason: Mapped[str | None]
    last_sequence: Mapped[int] = mapped_column(server_default="0")

    api_key_id: Mapped[str | None]
    requested_account_id: Mapped[str | None] = mapped_column(ForeignKey("upstream_accounts.id"))
    account_id: Mapped[str | None] = mapped_column(ForeignKey("upstream_accounts.id"))
    upstream_model: Mapped[str | None]
    upstream_job_id: Mapped[str | None]
    upstream_status: Mapped[str | None]
    upstream_queue_place: Mapped[int | None]
    upstream_events_cursor: Mapped[str | None]
    upstream_snapshot: Mapped[str | None] = mapped_column("upstream_told")
    polled_at: Mapped[dt.datetime | None] = mapped_column("looked_at")
    last_viewed_at: Mapped[dt.datetime | None] = mapped_column("watched_at")
    last_update_at: Mapped[dt.datetime | None] = mapped_column("news_at")
    stalled_at: Mapped[dt.datetime | None]
    create_phase: Mapped[CreatePhase] = mapped_column(Text, server_default="idle")
    create_attempt: Mapped[int] = mapped_column(server_default="0")
    create_settled_at: Mapped[dt.datetime | None]
    create_empty_lists: Mapped[int] = mapped_column(server_default="0")

    fine_tuned_model: Mapped[str | None]
    trained_tokens: Mapped[int | None]
    gpu_seconds: Mapped[float | None]
    train_loss: Mapped[float | None]
    train_loss_step: Mapped[int | None]
    best_train_loss: Mapped[float | None]
    best_train_loss_step: Mapped[int | None]
    valid_loss: Mapped[float | None]
    valid_loss_step: Mapped[int | None]
    best_valid_loss: Mapped[float | None]
    best_valid_loss_step: Mapped[int | None]
    valid_loss_is_full: Mapped[bool] = mapped_column(server_default="false")
    tokens_per_second: Mapped[float | None]
    duration_seconds: Mapped[float | None]
    warnings: Mapped[list[Any] | None]
    verdict: Mapped[dict[str, Any] | None]
    result_file_ids: Mapped[list[str]] = mapped_column(server_default="{}")
    cost_micros: Mapped[int | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    error_param: Mapped[str | None]


class JobMetadataPair(Base):
    """A pair of a job's metadata, for lists with a filter. Triggers on `jobs` maintain the rows.

    `pair` is the SHA-256 of the key, U+001F and the value. Row-level security lets an index serve equality, but not
    `@>` on the metadata itself.
    """

    __tablename__ = "job_metadata_pairs"
    __table_args__ = (ForeignKeyConstraint(["project_id", "job_id"], ["jobs.project_id", "jobs.id"]),)

    project_id: Mapped[str] = mapped_column(primary_key=True)
    pair: Mapped[bytes] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(primary_key=True)


class Deployment(Leased, Base):
    """The leased work of deploying a job's model if its comparison passes. Its id is the job's, whose row has the state
    (`deploy_status`): it is due when the comparison is to begin, and when it has ended."""

    __tablename__ = "deployments"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "id"], ["jobs.project_id", "jobs.id"]),
        Index("ix_deployments_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index(
            "ix_deployments_project_due",
            "project_id",
            text("due_at NULLS FIRST"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    created_at: Mapped[dt.datetime] = now()


class JobState(Base):
    """An entry of a job's timeline: when the job entered a state, and why."""

    __tablename__ = "job_states"
    __table_args__ = (ForeignKeyConstraint(["project_id", "job_id"], ["jobs.project_id", "jobs.id"]),)

    job_id: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project_id: Mapped[str]
    state: Mapped[State] = mapped_column(Text)
    reason: Mapped[str | None]
    entered_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class JobEvent(Base):
    """Something that happened to a job, in order. An event of the upstream keeps its id, so that it is written once."""

    __tablename__ = "job_events"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "job_id"], ["jobs.project_id", "jobs.id"]),
        UniqueConstraint("job_id", "sequence"),
        UniqueConstraint("job_id", "upstream_event_id"),
        CheckConstraint("level IN ('info', 'warn', 'error')", name="level"),
        CheckConstraint("type IN ('message', 'metrics')", name="type"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    job_id: Mapped[str]
    sequence: Mapped[int]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())
    level: Mapped[EventLevel] = mapped_column(Text)
    type: Mapped[EventType] = mapped_column(Text)
    message: Mapped[str]
    data: Mapped[dict[str, Any] | None]
    upstream_event_id: Mapped[str | None]


class JobMetric(Base):
    """The metrics of one training step, from the upstream's events while it runs and completed by its result file."""

    __tablename__ = "job_metrics"
    __table_args__ = (ForeignKeyConstraint(["project_id", "job_id"], ["jobs.project_id", "jobs.id"]),)

    job_id: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project_id: Mapped[str]
    train_loss: Mapped[float | None]
    train_mean_token_accuracy: Mapped[float | None]
    valid_loss: Mapped[float | None]
    valid_mean_token_accuracy: Mapped[float | None]
    full_valid_loss: Mapped[float | None]
    full_valid_mean_token_accuracy: Mapped[float | None]


class Checkpoint(Base):
    """A usable model of an intermediate step. `name` is ours; `Model` maps it to the upstream's name."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "job_id"], ["jobs.project_id", "jobs.id"]),
        UniqueConstraint("job_id", "upstream_checkpoint_id"),
        Index("ix_checkpoints_job", "job_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    job_id: Mapped[str]
    step_number: Mapped[int]
    name: Mapped[str]
    metrics: Mapped[dict[str, Any]]
    upstream_checkpoint_id: Mapped[str]
    created_at: Mapped[dt.datetime] = now()


class Model(Base):
    """A tuned model or checkpoint: our name for it, and its name at the upstream account that serves it."""

    __tablename__ = "models"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "job_id"], ["jobs.project_id", "jobs.id"]),
        Index("ix_models_project", "project_id", "created_at"),
        CheckConstraint("kind IN ('model', 'checkpoint')", name="kind"),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    job_id: Mapped[str]
    kind: Mapped[ModelKind] = mapped_column(Text)
    base_model: Mapped[str]
    account_id: Mapped[str] = mapped_column(ForeignKey("upstream_accounts.id"))
    upstream_name: Mapped[str]
    created_at: Mapped[dt.datetime] = now()
    deleted_at: Mapped[dt.datetime | None]
