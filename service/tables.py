"""The whole schema. Every invariant that SQL can hold stands here as a constraint; the migrations build it.

Tenant tables carry `project_id` and refer to each other by (project_id, id), because foreign keys are checked past
row-level security. Rows of long work carry `Leased`: when they are due, and who works on them (see `claims.py`).
Amounts are micro-dollars, times are `timestamptz` of the database's clock.
"""

import datetime as dt
from typing import Any, ClassVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The declarative base: how Python types become columns, and how constraints are named."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        bytes: LargeBinary,
        dt.datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
        dict[str, str]: JSONB(none_as_null=True),
        list[Any]: JSONB(none_as_null=True),
        list[str]: ARRAY(Text),
    }


def _now() -> Any:
    return mapped_column(server_default=func.now())


class Leased:
    """Columns of a row that workers take turns at. `due_at` null: nothing to do."""

    due_at: Mapped[dt.datetime | None]
    lease_token: Mapped[int] = mapped_column(server_default="0")
    leased_until: Mapped[dt.datetime | None]
    failures: Mapped[int] = mapped_column(server_default="0")


class Gateway(Base):
    """One row: which gateway this database belongs to. Upstream jobs are marked with it."""

    __tablename__ = "gateway"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    instance: Mapped[str]
    compatible_from: Mapped[int] = mapped_column(server_default="1")


class Project(Base):
    """A tenant and its limits. Null limits mean none."""

    __tablename__ = "projects"
    __table_args__ = (
        CheckConstraint("status IN ('active', 'archived')", name="status"),
        CheckConstraint("spend_limit_micros >= 0", name="spend_limit"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="active")
    created_at: Mapped[dt.datetime] = _now()
    archived_at: Mapped[dt.datetime | None]
    max_active_jobs: Mapped[int] = mapped_column(server_default="100")
    max_queued_jobs: Mapped[int] = mapped_column(server_default="1000")
    spend_limit_micros: Mapped[int | None]


class ApiKey(Base):
    """A key's SHA-256 and what it may reach. Admin keys belong to no project."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("(kind = 'project') = (project_id IS NOT NULL)", name="owner"),
        CheckConstraint("kind IN ('project', 'admin')", name="kind"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str]
    name: Mapped[str]
    sha256: Mapped[bytes] = mapped_column(unique=True)
    hint: Mapped[str]
    created_at: Mapped[dt.datetime] = _now()
    last_used_at: Mapped[dt.datetime | None]
    expires_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]


class File(Base):
    """A dataset or a result file. Its bytes are in the object store at `storage_key`; a deleted file keeps its row."""

    __tablename__ = "files"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        CheckConstraint("status IN ('uploaded', 'processed', 'error')", name="status"),
        CheckConstraint("size_bytes >= 0", name="size"),
        Index("ix_files_project", "project_id", "id", postgresql_where=text("deleted_at IS NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    filename: Mapped[str]
    purpose: Mapped[str]
    size_bytes: Mapped[int]
    sha256: Mapped[str]
    storage_key: Mapped[str]
    status: Mapped[str]
    status_details: Mapped[str | None]
    created_at: Mapped[dt.datetime] = _now()
    expires_at: Mapped[dt.datetime | None]
    deleted_at: Mapped[dt.datetime | None]
    content_deleted_at: Mapped[dt.datetime | None]


class PendingUpload(Base):
    """An object that is being written and has no file yet: what a crash leaves here, the janitor removes."""

    __tablename__ = "pending_uploads"

    storage_key: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    created_at: Mapped[dt.datetime] = _now()


class Upload(Leased, Base):
    """A file that comes in parts. `due_at` and the lease are its completion's: one at a time joins the parts."""

    __tablename__ = "uploads"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        ForeignKeyConstraint(["project_id", "file_id"], ["files.project_id", "files.id"]),
        CheckConstraint("status IN ('pending', 'completed', 'cancelled', 'expired')", name="status"),
        CheckConstraint("size_bytes > 0", name="size"),
        CheckConstraint("(status = 'completed') = (file_id IS NOT NULL)", name="completed"),
        CheckConstraint("(file_id IS NULL) = (part_ids IS NULL) AND (file_id IS NULL) = (md5 IS NULL)", name="joined"),
        CheckConstraint("status = 'pending' OR due_at IS NULL", name="ended"),
        Index("ix_uploads_pending", "expires_at", postgresql_where=text("status = 'pending'")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    filename: Mapped[str]
    purpose: Mapped[str]
    mime_type: Mapped[str]
    size_bytes: Mapped[int]
    file_expires_after_seconds: Mapped[int | None]
    status: Mapped[str] = mapped_column(server_default="pending")
    part_ids: Mapped[list[str] | None]
    md5: Mapped[str | None]
    file_id: Mapped[str | None]
    created_at: Mapped[dt.datetime] = _now()
    expires_at: Mapped[dt.datetime]


class UploadPart(Base):
    """One part of an upload. Its row lives as long as the object at `storage_key`."""

    __tablename__ = "upload_parts"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "upload_id"], ["uploads.project_id", "uploads.id"]),
        CheckConstraint("size_bytes > 0", name="size"),
        Index("ix_upload_parts_upload", "upload_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    upload_id: Mapped[str]
    size_bytes: Mapped[int]
    storage_key: Mapped[str]
    created_at: Mapped[dt.datetime] = _now()


class FileReport(Leased, Base):
    """A dataset's report for one encoding and one token limit, and the work of making it."""

    __tablename__ = "file_reports"
    __table_args__ = (
        UniqueConstraint("file_id", "encoding", "max_tokens"),
        ForeignKeyConstraint(["project_id", "file_id"], ["files.project_id", "files.id"]),
        CheckConstraint("status IN ('pending', 'ready')", name="status"),
        CheckConstraint("(status = 'ready') = (report IS NOT NULL)", name="ready"),
        Index("ix_file_reports_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    file_id: Mapped[str]
    model: Mapped[str]
    encoding: Mapped[str]
    max_tokens: Mapped[int]
    status: Mapped[str] = mapped_column(server_default="pending")
    progress_bytes: Mapped[int] = mapped_column(server_default="0")
    report: Mapped[dict[str, Any] | None]
    created_at: Mapped[dt.datetime] = _now()


class DatasetPreparation(Leased, Base):
    """A file that is made into training data: what was asked for, and what came of it (see `prepare/run.py`)."""

    __tablename__ = "dataset_preparations"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "input_file_id"], ["files.project_id", "files.id"]),
        ForeignKeyConstraint(["project_id", "training_file_id"], ["files.project_id", "files.id"]),
        ForeignKeyConstraint(["project_id", "validation_file_id"], ["files.project_id", "files.id"]),
        CheckConstraint("status IN ('pending', 'running', 'succeeded', 'failed', 'cancelled')", name="status"),
        CheckConstraint("(status IN ('pending', 'running')) = (finished_at IS NULL)", name="finished"),
        CheckConstraint("finished_at IS NULL OR due_at IS NULL", name="ended"),
        CheckConstraint("(status = 'succeeded') = (training_file_id IS NOT NULL)", name="has_output"),
        CheckConstraint("(status = 'succeeded') = (outcome IS NOT NULL)", name="has_outcome"),
        CheckConstraint("(changes_key IS NULL) = (changes_size_bytes IS NULL)", name="changes"),
        CheckConstraint("(status = 'failed') = (error_code IS NOT NULL)", name="has_error"),
        Index("ix_dataset_preparations_project", "project_id", "id"),
        Index("ix_dataset_preparations_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    input_file_id: Mapped[str]
    input_size_bytes: Mapped[int]
    model: Mapped[str]
    options: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(server_default="pending")
    progress_bytes: Mapped[int] = mapped_column(server_default="0")
    training_file_id: Mapped[str | None]
    validation_file_id: Mapped[str | None]
    changes_key: Mapped[str | None]
    changes_size_bytes: Mapped[int | None]
    outcome: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    error_param: Mapped[str | None]
    created_at: Mapped[dt.datetime] = _now()
    finished_at: Mapped[dt.datetime | None]


class Quote(Base):
    """A price that binds until it expires; `request` is what it was made for."""

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
    created_at: Mapped[dt.datetime] = _now()
    expires_at: Mapped[dt.datetime]


class UpstreamAccount(Base):
    """An account at a provider that trains for us. `held_until` stops new work there, with the reason."""

    __tablename__ = "upstream_accounts"
    __table_args__ = (CheckConstraint("max_active_jobs > 0", name="slots"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    base_url: Mapped[str]
    max_active_jobs: Mapped[int] = mapped_column(server_default="100")
    held_until: Mapped[dt.datetime | None]
    held_reason: Mapped[str | None]
    created_at: Mapped[dt.datetime] = _now()


class UpstreamFile(Leased, Base):
    """One content at one account for one project: uploaded once, shared by that project's jobs."""

    __tablename__ = "upstream_files"
    __table_args__ = (
        UniqueConstraint("account_id", "project_id", "sha256"),
        CheckConstraint("phase IN ('idle', 'intent', 'uploaded')", name="phase"),
        CheckConstraint("(phase = 'uploaded') = (upstream_file_id IS NOT NULL)", name="uploaded"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("upstream_accounts.id"))
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    sha256: Mapped[str]
    phase: Mapped[str] = mapped_column(server_default="idle")
    upstream_file_id: Mapped[str | None]
    created_at: Mapped[dt.datetime] = _now()


class Job(Leased, Base):
    """A fine-tuning job: what the caller asked for, where it stands, and what it has become upstream."""

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
        CheckConstraint("seed BETWEEN 0 AND 2147483647", name="seed"),
        Index("ix_jobs_project", "project_id", "id"),
        Index("ix_jobs_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_jobs_account_state", "account_id", "state"),
        Index("ix_jobs_metadata", "metadata", postgresql_using="gin"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    state: Mapped[str]
    model: Mapped[str]
    training_file_id: Mapped[str]
    validation_file_id: Mapped[str | None]
    suffix: Mapped[str | None]
    seed: Mapped[int]
    caller_metadata: Mapped[dict[str, str] | None] = mapped_column("metadata")
    integrations: Mapped[list[Any] | None]
    method: Mapped[dict[str, Any]]
    n_epochs: Mapped[int | None]
    quote_id: Mapped[str | None]
    price_micros_per_million: Mapped[int | None]
    expected_micros: Mapped[int | None]
    priority: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[dt.datetime] = _now()
    started_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
    estimated_finish_at: Mapped[dt.datetime | None]
    cancel_requested_at: Mapped[dt.datetime | None]
    pause_requested: Mapped[bool] = mapped_column(server_default="false")
    pause_sent: Mapped[bool] = mapped_column(server_default="false")
    waiting_reason: Mapped[str | None]
    last_sequence: Mapped[int] = mapped_column(server_default="0")

    account_id: Mapped[str | None] = mapped_column(ForeignKey("upstream_accounts.id"))
    upstream_model: Mapped[str | None]
    upstream_job_id: Mapped[str | None]
    upstream_status: Mapped[str | None]
    upstream_events_cursor: Mapped[str | None]
    create_phase: Mapped[str] = mapped_column(server_default="idle")
    create_attempt: Mapped[int] = mapped_column(server_default="0")
    create_settled_at: Mapped[dt.datetime | None]
    create_empty_lists: Mapped[int] = mapped_column(server_default="0")

    fine_tuned_model: Mapped[str | None]
    trained_tokens: Mapped[int | None]
    result_file_ids: Mapped[list[str]] = mapped_column(server_default="{}")
    cost_micros: Mapped[int | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    error_param: Mapped[str | None]


class JobState(Base):
    """The timeline: when a job entered each state, and why."""

    __tablename__ = "job_states"
    __table_args__ = (ForeignKeyConstraint(["project_id", "job_id"], ["jobs.project_id", "jobs.id"]),)

    job_id: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project_id: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str | None]
    entered_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class JobEvent(Base):
    """What happened to a job, in order. The upstream's events keep their id, so that none is taken twice."""

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
    level: Mapped[str]
    type: Mapped[str]
    message: Mapped[str]
    data: Mapped[dict[str, Any] | None]
    upstream_event_id: Mapped[str | None]


class JobMetric(Base):
    """One training step's figures, from the upstream's events while it runs, completed by its result file."""

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
    """A usable model of a step on the way. `name` is ours; `Model` maps it to the upstream's."""

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
    created_at: Mapped[dt.datetime] = _now()


class Model(Base):
    """A tuned model or checkpoint: our name, and the upstream's name at the account that serves it."""

    __tablename__ = "models"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "job_id"], ["jobs.project_id", "jobs.id"]),
        Index("ix_models_project", "project_id", "created_at"),
        CheckConstraint("kind IN ('model', 'checkpoint')", name="kind"),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    job_id: Mapped[str]
    kind: Mapped[str]
    base_model: Mapped[str]
    account_id: Mapped[str] = mapped_column(ForeignKey("upstream_accounts.id"))
    upstream_name: Mapped[str]
    created_at: Mapped[dt.datetime] = _now()
    deleted_at: Mapped[dt.datetime | None]


class UpstreamCall(Base):
    """Every upstream job that a create was ever seen to make. Append-only and never fenced: the memory of money."""

    __tablename__ = "upstream_calls"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "job_id"], ["jobs.project_id", "jobs.id"]),
        UniqueConstraint("job_id", "upstream_job_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    job_id: Mapped[str]
    account_id: Mapped[str] = mapped_column(ForeignKey("upstream_accounts.id"))
    attempt: Mapped[int]
    upstream_job_id: Mapped[str]
    cancelled_as_stray_at: Mapped[dt.datetime | None]
    seen_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class PriceOverride(Base):
    """A training price that the platform team has set, from a day on. It belongs to no project."""

    __tablename__ = "price_overrides"
    __table_args__ = (
        UniqueConstraint("model", "since"),
        CheckConstraint("micros_per_million >= 0", name="price"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    since: Mapped[dt.date]
    micros_per_million: Mapped[int]
    source: Mapped[str]
    created_at: Mapped[dt.datetime] = _now()


class ModelCalibration(Base):
    """How estimated tokens compared with those that upstreams counted, summed over a model's finished jobs."""

    __tablename__ = "model_calibrations"
    __table_args__ = (CheckConstraint("jobs > 0 AND estimated_tokens >= 0 AND actual_tokens >= 0", name="sums"),)

    model: Mapped[str] = mapped_column(primary_key=True)
    jobs: Mapped[int]
    estimated_tokens: Mapped[int]
    actual_tokens: Mapped[int]


class Balance(Base):
    """What a project has reserved and spent in one UTC month. The sum of its ledger entries, always."""

    __tablename__ = "balances"
    __table_args__ = (
        CheckConstraint("reserved_micros >= 0", name="reserved"),
        CheckConstraint("spent_micros >= 0", name="spent"),
        CheckConstraint("overage_micros >= 0", name="overage"),
    )

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    month: Mapped[dt.date] = mapped_column(primary_key=True)
    reserved_micros: Mapped[int] = mapped_column(server_default="0")
    spent_micros: Mapped[int] = mapped_column(server_default="0")
    overage_micros: Mapped[int] = mapped_column(server_default="0")


class LedgerEntry(Base):
    """Append-only. One `reserve` a subject, and one of `post` or `void` that resolves it."""

    __tablename__ = "ledger_entries"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "month"], ["balances.project_id", "balances.month"]),
        CheckConstraint("kind IN ('reserve', 'post', 'void')", name="kind"),
        CheckConstraint("reserved_micros >= 0 AND spent_micros >= 0 AND overage_micros >= 0", name="amounts"),
        Index("uq_ledger_entries_reserve", "subject", unique=True, postgresql_where=text("kind = 'reserve'")),
        Index("uq_ledger_entries_resolve", "subject", unique=True, postgresql_where=text("kind <> 'reserve'")),
        Index("ix_ledger_entries_project", "project_id", "month"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    month: Mapped[dt.date]
    subject: Mapped[str]
    kind: Mapped[str]
    line_item: Mapped[str]
    reserved_micros: Mapped[int]
    spent_micros: Mapped[int] = mapped_column(server_default="0")
    overage_micros: Mapped[int] = mapped_column(server_default="0")
    quantity: Mapped[int | None]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class WebhookEndpoint(Base):
    """Where a project wants its events. The secret is encrypted; the old one signs too while a rotation lasts."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        Index("ix_webhook_endpoints_project", "project_id", "id", postgresql_where=text("deleted_at IS NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    url: Mapped[str]
    event_types: Mapped[list[str]]
    secret_encrypted: Mapped[bytes]
    secret_hint: Mapped[str]
    old_secret_encrypted: Mapped[bytes | None]
    old_secret_expires_at: Mapped[dt.datetime | None]
    disabled_at: Mapped[dt.datetime | None]
    disabled_reason: Mapped[str | None]
    failing_since: Mapped[dt.datetime | None]
    created_at: Mapped[dt.datetime] = _now()
    updated_at: Mapped[dt.datetime] = _now()
    deleted_at: Mapped[dt.datetime | None]


class WebhookEvent(Base):
    """An event as it is sent: `body` is signed and sent byte for byte."""

    __tablename__ = "webhook_events"
    __table_args__ = (UniqueConstraint("project_id", "id"), Index("ix_webhook_events_project", "project_id", "id"))

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    type: Mapped[str]
    subject: Mapped[str]
    body: Mapped[bytes]
    created_at: Mapped[dt.datetime] = _now()


class WebhookDelivery(Leased, Base):
    """One event on its way to one endpoint."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        UniqueConstraint("event_id", "endpoint_id"),
        ForeignKeyConstraint(["project_id", "endpoint_id"], ["webhook_endpoints.project_id", "webhook_endpoints.id"]),
        ForeignKeyConstraint(["project_id", "event_id"], ["webhook_events.project_id", "webhook_events.id"]),
        CheckConstraint("status IN ('pending', 'succeeded', 'failed')", name="status"),
        Index("ix_webhook_deliveries_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_webhook_deliveries_endpoint", "endpoint_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    endpoint_id: Mapped[str]
    event_id: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending")
    attempts: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[dt.datetime] = _now()


class WebhookAttempt(Base):
    """One try of a delivery: what came back, and how long it took."""

    __tablename__ = "webhook_attempts"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "delivery_id"], ["webhook_deliveries.project_id", "webhook_deliveries.id"]),
    )

    delivery_id: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project_id: Mapped[str]
    started_at: Mapped[dt.datetime]
    latency_ms: Mapped[int]
    status_code: Mapped[int | None]
    error: Mapped[str | None]
    response: Mapped[str | None]


class RememberedRequest(Base):
    """A creating request and its answer, so that a repeated one gets the same (see `http/idempotency.py`)."""

    __tablename__ = "remembered_requests"
    __table_args__ = (
        UniqueConstraint("project_id", "route", "idempotency_key"),
        Index("ix_remembered_requests_body", "project_id", "route", "body_sha256", "created_at"),
        Index("ix_remembered_requests_created", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    key_id: Mapped[str]
    route: Mapped[str]
    idempotency_key: Mapped[str | None]
    body_sha256: Mapped[bytes]
    retry_count: Mapped[int] = mapped_column(server_default="0")
    response: Mapped[bytes]
    created_at: Mapped[dt.datetime] = _now()


TENANT_TABLES = tuple(
    table.name for table in Base.metadata.sorted_tables if "project_id" in table.columns or table.name == "projects"
)
"""Every table that row-level security guards; a test compares this with the policies in the database."""
