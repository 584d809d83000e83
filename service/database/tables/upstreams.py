"""Upstream accounts, the files and jobs that the gateway created there, and their webhooks."""

import datetime as dt

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from service.database.tables.base import Base, Leased, now
from service.states import UploadPhase, UpstreamKind, UpstreamProvider


class UpstreamAccount(Base):
    """An account at a provider that trains models: shared, or a project's own (`project_id`).

    `credential_sealed` is null for the account that the environment describes. Every change of the connection's
    settings increments `version`, by which each process notices it. Until `cool_down_until` the account takes no new
    work, for `cool_down_reason`; from `drained_at` on it takes none until it is resumed. A trigger ensures that no row
    of a project refers to another project's account. `polls_per_minute` bounds the requests of polling (null: by the
    settings); `webhook_secret_sealed` verifies the webhooks that the upstream sends. `listed_models` are the base
    models that a self-hosted upstream listed at `models_listed_at`; null if it has no such list.
    """

    __tablename__ = "upstream_accounts"
    __table_args__ = (
        CheckConstraint("max_active_jobs > 0", name="slots"),
        CheckConstraint("polls_per_minute > 0", name="polls"),
        CheckConstraint("kind IN ('openai', 'azure')", name="kind"),
        CheckConstraint("deleted_at IS NULL OR credential_sealed IS NULL", name="deleted_forgets"),
        Index("uq_upstream_accounts_own_name", "project_id", "name", unique=True),
        Index(
            "uq_upstream_accounts_shared_name",
            "name",
            unique=True,
            postgresql_where=text("project_id IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[UpstreamKind] = mapped_column(Text)
    name: Mapped[str | None]
    base_url: Mapped[str]
    api_version: Mapped[str | None]
    credential_sealed: Mapped[bytes | None]
    credential_set_at: Mapped[dt.datetime | None]
    models: Mapped[list[str] | None]
    methods: Mapped[list[str] | None]
    deployments: Mapped[dict[str, str] | None]
    provider: Mapped[UpstreamProvider | None] = mapped_column(Text)
    billed: Mapped[bool] = mapped_column(server_default="true")
    max_active_jobs: Mapped[int] = mapped_column(server_default="100")
    cool_down_until: Mapped[dt.datetime | None] = mapped_column("held_until")
    cool_down_reason: Mapped[str | None] = mapped_column("held_reason")
    polls_per_minute: Mapped[int | None]
    webhook_secret_sealed: Mapped[bytes | None]
    listed_models: Mapped[list[str] | None]
    models_listed_at: Mapped[dt.datetime | None]
    drained_at: Mapped[dt.datetime | None]
    last_success_at: Mapped[dt.datetime | None]
    last_error_at: Mapped[dt.datetime | None]
    last_error_kind: Mapped[str | None]
    version: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[dt.datetime] = now()
    updated_at: Mapped[dt.datetime] = now()
    deleted_at: Mapped[dt.datetime | None]


class UpstreamFile(Leased, Base):
    """A file's content at one account for one project: uploaded once and shared by that project's jobs.

    At an account whose jobs are labelled by their training file, each job has files of its own: `sha256` is then
    followed by `/` and the job's id.
    """

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
    phase: Mapped[UploadPhase] = mapped_column(Text, server_default="idle")
    upstream_file_id: Mapped[str | None]
    created_at: Mapped[dt.datetime] = now()


class UpstreamCall(Base):
    """Every upstream job that a create is known to have made, as each may cost money. Append-only, never fenced."""

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
    cancelled_as_orphan_at: Mapped[dt.datetime | None] = mapped_column("cancelled_as_stray_at")
    seen_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class AccountPoll(Leased, Base):
    """The polling of one account's running jobs; its id is the account's.

    `spent_until` is the poll limiter's state (`workers/jobs/poll_limiter.py`). `listing`: whether updates are found by
    listing the account's jobs, and not by polling each. The last step counted `active` jobs, of which callers viewed
    `recently_viewed` within the last minute. `listed_at` is null if no job depends on lists.
    """

    __tablename__ = "upstream_watches"

    id: Mapped[str] = mapped_column(ForeignKey("upstream_accounts.id"), primary_key=True)
    spent_until: Mapped[dt.datetime] = now()
    listing: Mapped[bool] = mapped_column(server_default="false")
    active: Mapped[int] = mapped_column(server_default="0")
    recently_viewed: Mapped[int] = mapped_column("watched", server_default="0")
    listed_at: Mapped[dt.datetime | None]


class UpstreamWebhook(Base):
    """A webhook that was accepted from an upstream, stored for as long as its signature can be valid."""

    __tablename__ = "upstream_notices"
    __table_args__ = (Index("ix_upstream_notices_received", "received_at"),)

    account_id: Mapped[str] = mapped_column(ForeignKey("upstream_accounts.id"), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(primary_key=True)
    received_at: Mapped[dt.datetime] = now()
