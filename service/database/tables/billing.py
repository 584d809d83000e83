"""Prices, balances, the ledger, and spend alerts."""

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, now
from service.states import LedgerEntryKind, PostingBasis


class PriceOverride(Base):
    """A training price that the platform team set, from a day on. It belongs to no project."""

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
    created_at: Mapped[dt.datetime] = now()


class InferencePriceOverride(Base):
    """A price of inference that the platform team set, from a day on. `tuned`: for models trained from `model`."""

    __tablename__ = "inference_price_overrides"
    __table_args__ = (
        UniqueConstraint("model", "tuned", "since"),
        CheckConstraint("input_micros_per_million >= 0 AND output_micros_per_million >= 0", name="price"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    tuned: Mapped[bool]
    since: Mapped[dt.date]
    input_micros_per_million: Mapped[int]
    output_micros_per_million: Mapped[int]
    source: Mapped[str]
    created_at: Mapped[dt.datetime] = now()


class ModelCalibration(Base):
    """Estimated tokens and those that upstreams counted, each summed over a model's finished jobs."""

    __tablename__ = "model_calibrations"
    __table_args__ = (CheckConstraint("jobs > 0 AND estimated_tokens >= 0 AND actual_tokens >= 0", name="sums"),)

    model: Mapped[str] = mapped_column(primary_key=True)
    jobs: Mapped[int]
    estimated_tokens: Mapped[int]
    actual_tokens: Mapped[int]


class TrainingSpeed(Base):
    """The tokens and GPU-seconds of a job that succeeded, by which later jobs of its kind are estimated.

    The estimate that the job itself began with is null if there was none. It belongs to no project.
    """

    __tablename__ = "training_speeds"
    __table_args__ = (
        CheckConstraint("trained_tokens > 0 AND gpu_seconds > 0 AND gpu_seconds < 'Infinity'", name="measured"),
        CheckConstraint("adapter_type IN ('lora', 'full')", name="adapter_type"),
        Index("ix_training_speeds_kind", "model", "account_id", "method_type", "adapter_type", "finished_at"),
    )

    job_id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    account_id: Mapped[str] = mapped_column(ForeignKey("upstream_accounts.id"))
    method_type: Mapped[str]
    adapter_type: Mapped[str]
    trained_tokens: Mapped[int]
    gpu_seconds: Mapped[float]
    estimated_low: Mapped[float | None]
    estimated_gpu_seconds: Mapped[float | None]
    estimated_high: Mapped[float | None]
    finished_at: Mapped[dt.datetime] = now()


class Balance(Base):
    """What a project has reserved and spent in one UTC month; always the sum of its ledger entries."""

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


class OrganizationSpending(Base):
    """One row: the organisation's limit, and whether its balances are maintained, as a limit or an alert needs."""

    __tablename__ = "organization_spending"
    __table_args__ = (
        CheckConstraint("id = 1", name="single"),
        CheckConstraint("spend_limit_micros >= 0", name="spend_limit"),
        CheckConstraint("kept OR spend_limit_micros IS NULL", name="kept"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    maintained: Mapped[bool] = mapped_column("kept", server_default="false")
    spend_limit_micros: Mapped[int | None]


class OrganizationBalance(Base):
    """The sum of all projects' balances of a month. Rows exist only while the balances are maintained."""

    __tablename__ = "organization_balances"
    __table_args__ = (
        CheckConstraint("reserved_micros >= 0 AND spent_micros >= 0 AND overage_micros >= 0", name="amounts"),
    )

    month: Mapped[dt.date] = mapped_column(primary_key=True)
    reserved_micros: Mapped[int] = mapped_column(server_default="0")
    spent_micros: Mapped[int] = mapped_column(server_default="0")
    overage_micros: Mapped[int] = mapped_column(server_default="0")


class LedgerEntry(Base):
    """Append-only. One `reserve` a subject, and one of `post` or `void` that resolves it.

    `basis` says how the cost of an inference call is known: from the upstream's `usage`, from an `estimate` of what it
    sent, or from the `reservation` of a call whose process died. Tokens are set for inference only; `quantity` is the
    billed tokens, `gpu_seconds` what a job's upstream metered.
    """

    __tablename__ = "ledger_entries"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "month"], ["balances.project_id", "balances.month"]),
        CheckConstraint("kind IN ('reserve', 'post', 'void')", name="kind"),
        CheckConstraint("reserved_micros >= 0 AND spent_micros >= 0 AND overage_micros >= 0", name="amounts"),
        Index("uq_ledger_entries_reserve", "subject", unique=True, postgresql_where=text("kind = 'reserve'")),
        Index("uq_ledger_entries_resolve", "subject", unique=True, postgresql_where=text("kind <> 'reserve'")),
        Index("ix_ledger_entries_project", "project_id", "month"),
        Index("ix_ledger_entries_posted", "created_at", postgresql_where=text("kind = 'post'")),
        Index("ix_ledger_entries_project_posted", "project_id", "created_at", postgresql_where=text("kind = 'post'")),
        CheckConstraint("basis IN ('usage', 'estimate', 'reservation')", name="basis"),
        CheckConstraint("input_tokens >= 0 AND output_tokens >= 0", name="tokens"),
        CheckConstraint("gpu_seconds >= 0 AND gpu_seconds < 'Infinity'", name="gpu_seconds"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    month: Mapped[dt.date]
    subject: Mapped[str]
    kind: Mapped[LedgerEntryKind] = mapped_column(Text)
    line_item: Mapped[str]
    reserved_micros: Mapped[int]
    spent_micros: Mapped[int] = mapped_column(server_default="0")
    overage_micros: Mapped[int] = mapped_column(server_default="0")
    quantity: Mapped[int | None]
    gpu_seconds: Mapped[float | None]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())
    api_key_id: Mapped[str | None]
    model: Mapped[str | None]
    input_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    basis: Mapped[PostingBasis | None] = mapped_column(Text)


class OpenInference(Base):
    """An inference call with an unresolved reservation. After `expires_at` its process is presumed dead.

    The tokens are those that it reserved for. A call of a run also has its key within the run: the worker that resumes
    the run sends the call again, under the same reservation.
    """

    __tablename__ = "open_inferences"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "run_id"], ["runs.project_id", "runs.id"]),
        CheckConstraint("(run_id IS NULL) = (call_key IS NULL)", name="of_run"),
        Index("ix_open_inferences_run", "run_id", "call_key", unique=True, postgresql_where=text("run_id IS NOT NULL")),
        CheckConstraint("input_tokens >= 0 AND output_tokens >= 0", name="tokens"),
        Index("ix_open_inferences_expires", "expires_at"),
    )

    subject: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    expires_at: Mapped[dt.datetime]
    run_id: Mapped[str | None]
    call_key: Mapped[str | None]


class SpendAlert(Base):
    """A threshold of a project's month. `notified` has, by month, the threshold at which its event was emitted."""

    __tablename__ = "spend_alerts"
    __table_args__ = (
        CheckConstraint("threshold_micros >= 0", name="threshold"),
        Index("ix_spend_alerts_project", "project_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    threshold_micros: Mapped[int]
    recipients: Mapped[list[str]]
    subject_prefix: Mapped[str | None]
    notified: Mapped[dict[str, Any]] = mapped_column("told", server_default="{}")
    created_at: Mapped[dt.datetime] = now()


class OrganizationSpendAlert(Base):
    """A threshold of the organisation's month, over all projects."""

    __tablename__ = "organization_spend_alerts"
    __table_args__ = (CheckConstraint("threshold_micros >= 0", name="threshold"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    threshold_micros: Mapped[int]
    recipients: Mapped[list[str]]
    subject_prefix: Mapped[str | None]
    notified: Mapped[dict[str, Any]] = mapped_column("told", server_default="{}")
    created_at: Mapped[dt.datetime] = now()
