"""The first schema: tables, invariants, the service's role and row-level security.

Revision: 0001
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TENANT_TABLES = (
    "projects",
    "api_keys",
    "balances",
    "files",
    "pending_uploads",
    "quotes",
    "remembered_requests",
    "upstream_files",
    "webhook_endpoints",
    "webhook_events",
    "file_reports",
    "jobs",
    "ledger_entries",
    "webhook_deliveries",
    "checkpoints",
    "job_events",
    "job_metrics",
    "job_states",
    "models",
    "upstream_calls",
    "webhook_attempts",
)
"""Guarded by row-level security. `projects` is scoped by its id, all others by `project_id`."""

SCOPE_POLICY = """
    CREATE POLICY scope ON {table} USING (
        CASE current_setting('tunegate.scope', true)
            WHEN 'project' THEN {column} = NULLIF(current_setting('tunegate.project', true), '')
            WHEN 'worker' THEN true
            WHEN 'admin' THEN true
            ELSE false
        END
    )
"""

SERVICE_ROLE = """
    DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tunegate_service') THEN
            CREATE ROLE tunegate_service NOLOGIN NOSUPERUSER NOBYPASSRLS;
        END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END $$
"""

GRANT_TO_OWNER = """
    DO $$ BEGIN
        GRANT tunegate_service TO CURRENT_USER;
    EXCEPTION WHEN insufficient_privilege THEN
        IF NOT pg_has_role('tunegate_service', 'MEMBER') THEN RAISE; END IF;
    END $$
"""
"""An administrator may have made the role, and granted it, for an owner that may do neither."""

APPEND_ONLY = ("ledger_entries", "job_states", "webhook_events")
"""The service may add to these and read them; nothing it does can change what they say."""


def upgrade() -> None:
    op.create_table(
        "gateway",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("compatible_from", sa.BigInteger(), server_default="1", nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_gateway_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway")),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="active", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("max_active_jobs", sa.BigInteger(), server_default="100", nullable=False),
        sa.Column("max_queued_jobs", sa.BigInteger(), server_default="1000", nullable=False),
        sa.Column("spend_limit_micros", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("status IN ('active', 'archived')", name=op.f("ck_projects_status")),
        sa.CheckConstraint("spend_limit_micros >= 0", name=op.f("ck_projects_spend_limit")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.create_table(
        "upstream_accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("max_active_jobs", sa.BigInteger(), server_default="100", nullable=False),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("held_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("max_active_jobs > 0", name=op.f("ck_upstream_accounts_slots")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upstream_accounts")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(kind = 'project') = (project_id IS NOT NULL)", name=op.f("ck_api_keys_owner")),
        sa.CheckConstraint("kind IN ('project', 'admin')", name=op.f("ck_api_keys_kind")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_api_keys_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("sha256", name=op.f("uq_api_keys_sha256")),
    )
    op.create_table(
        "balances",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("reserved_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("overage_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("overage_micros >= 0", name=op.f("ck_balances_overage")),
        sa.CheckConstraint("reserved_micros >= 0", name=op.f("ck_balances_reserved")),
        sa.CheckConstraint("spent_micros >= 0", name=op.f("ck_balances_spent")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_balances_project_id")),
        sa.PrimaryKeyConstraint("project_id", "month", name=op.f("pk_balances")),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_details", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("content_deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('uploaded', 'processed', 'error')", name=op.f("ck_files_status")),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_files_size")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_files_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
        sa.UniqueConstraint("project_id", "id", name=op.f("uq_files_project_id_id")),
    )
    op.create_index(
        "ix_files_project", "files", ["project_id", "id"], unique=False, postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.create_table(
        "pending_uploads",
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_pending_uploads_project_id")),
        sa.PrimaryKeyConstraint("storage_key", name=op.f("pk_pending_uploads")),
    )
    op.create_table(
        "quotes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("request", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("n_epochs", sa.BigInteger(), nullable=False),
        sa.Column("billable_tokens", sa.BigInteger(), nullable=False),
        sa.Column("price_micros_per_million", sa.BigInteger(), nullable=False),
        sa.Column("low_micros", sa.BigInteger(), nullable=False),
        sa.Column("expected_micros", sa.BigInteger(), nullable=False),
        sa.Column("upper_micros", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_quotes_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quotes")),
        sa.UniqueConstraint("project_id", "id", name=op.f("uq_quotes_project_id_id")),
    )
    op.create_table(
        "remembered_requests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("body_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("retry_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_remembered_requests_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remembered_requests")),
        sa.UniqueConstraint(
            "project_id",
            "route",
            "idempotency_key",
            name=op.f("uq_remembered_requests_project_id_route_idempotency_key"),
        ),
    )
    op.create_index(
        "ix_remembered_requests_body",
        "remembered_requests",
        ["project_id", "route", "body_sha256", "created_at"],
        unique=False,
    )
    op.create_index("ix_remembered_requests_created", "remembered_requests", ["created_at"], unique=False)
    op.create_table(
        "upstream_files",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), server_default="idle", nullable=False),
        sa.Column("upstream_file_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "(phase = 'uploaded') = (upstream_file_id IS NOT NULL)", name=op.f("ck_upstream_files_uploaded")
        ),
        sa.CheckConstraint("phase IN ('idle', 'intent', 'uploaded')", name=op.f("ck_upstream_files_phase")),
        sa.ForeignKeyConstraint(["account_id"], ["upstream_accounts.id"], name=op.f("fk_upstream_files_account_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_upstream_files_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upstream_files")),
        sa.UniqueConstraint(
            "account_id", "project_id", "sha256", name=op.f("uq_upstream_files_account_id_project_id_sha256")
        ),
    )
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("event_types", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("secret_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("secret_hint", sa.Text(), nullable=False),
        sa.Column("old_secret_encrypted", sa.LargeBinary(), nullable=True),
        sa.Column("old_secret_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_webhook_endpoints_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
        sa.UniqueConstraint("project_id", "id", name=op.f("uq_webhook_endpoints_project_id_id")),
    )
    op.create_index(
        "ix_webhook_endpoints_project",
        "webhook_endpoints",
        ["project_id", "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_webhook_events_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
        sa.UniqueConstraint("project_id", "id", name=op.f("uq_webhook_events_project_id_id")),
    )
    op.create_index("ix_webhook_events_project", "webhook_events", ["project_id", "id"], unique=False)
    op.create_table(
        "file_reports",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("file_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("encoding", sa.Text(), nullable=False),
        sa.Column("max_tokens", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("progress_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("report", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("(status = 'ready') = (report IS NOT NULL)", name=op.f("ck_file_reports_ready")),
        sa.CheckConstraint("status IN ('pending', 'ready')", name=op.f("ck_file_reports_status")),
        sa.ForeignKeyConstraint(
            ["project_id", "file_id"], ["files.project_id", "files.id"], name=op.f("fk_file_reports_project_id_file_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_reports")),
        sa.UniqueConstraint(
            "file_id", "encoding", "max_tokens", name=op.f("uq_file_reports_file_id_encoding_max_tokens")
        ),
    )
    op.create_index(
        "ix_file_reports_due", "file_reports", ["due_at"], unique=False, postgresql_where=sa.text("due_at IS NOT NULL")
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("training_file_id", sa.Text(), nullable=False),
        sa.Column("validation_file_id", sa.Text(), nullable=True),
        sa.Column("suffix", sa.Text(), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("integrations", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("method", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("n_epochs", sa.BigInteger(), nullable=True),
        sa.Column("quote_id", sa.Text(), nullable=True),
        sa.Column("price_micros_per_million", sa.BigInteger(), nullable=True),
        sa.Column("expected_micros", sa.BigInteger(), nullable=True),
        sa.Column("priority", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("estimated_finish_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pause_requested", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("pause_sent", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("waiting_reason", sa.Text(), nullable=True),
        sa.Column("last_sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("upstream_model", sa.Text(), nullable=True),
        sa.Column("upstream_job_id", sa.Text(), nullable=True),
        sa.Column("upstream_status", sa.Text(), nullable=True),
        sa.Column("upstream_events_cursor", sa.Text(), nullable=True),
        sa.Column("create_phase", sa.Text(), server_default="idle", nullable=False),
        sa.Column("create_attempt", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("create_settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("create_empty_lists", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("fine_tuned_model", sa.Text(), nullable=True),
        sa.Column("trained_tokens", sa.BigInteger(), nullable=True),
        sa.Column("result_file_ids", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_param", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("(create_phase = 'created') = (upstream_job_id IS NOT NULL)", name=op.f("ck_jobs_created")),
        sa.CheckConstraint(
            "(state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)", name=op.f("ck_jobs_finished")
        ),
        sa.CheckConstraint("create_phase IN ('idle', 'intent', 'created')", name=op.f("ck_jobs_create_phase")),
        sa.CheckConstraint("state <> 'failed' OR error_code IS NOT NULL", name=op.f("ck_jobs_failed_has_error")),
        sa.CheckConstraint(
            "state <> 'succeeded' OR fine_tuned_model IS NOT NULL", name=op.f("ck_jobs_succeeded_has_model")
        ),
        sa.CheckConstraint(
            "state IN ('validating', 'waiting', 'uploading', 'creating', 'running', 'settling', "
            "'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_jobs_state"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('running', 'settling') OR upstream_job_id IS NOT NULL", name=op.f("ck_jobs_running")
        ),
        sa.CheckConstraint("seed BETWEEN 0 AND 2147483647", name=op.f("ck_jobs_seed")),
        sa.CheckConstraint("trained_tokens >= 0", name=op.f("ck_jobs_trained_tokens")),
        sa.ForeignKeyConstraint(["account_id"], ["upstream_accounts.id"], name=op.f("fk_jobs_account_id")),
        sa.ForeignKeyConstraint(
            ["project_id", "quote_id"], ["quotes.project_id", "quotes.id"], name=op.f("fk_jobs_project_id_quote_id")
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "training_file_id"],
            ["files.project_id", "files.id"],
            name=op.f("fk_jobs_project_id_training_file_id"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "validation_file_id"],
            ["files.project_id", "files.id"],
            name=op.f("fk_jobs_project_id_validation_file_id"),
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_jobs_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("account_id", "upstream_job_id", name=op.f("uq_jobs_account_id_upstream_job_id")),
        sa.UniqueConstraint("project_id", "id", name=op.f("uq_jobs_project_id_id")),
    )
    op.create_index("ix_jobs_account_state", "jobs", ["account_id", "state"], unique=False)
    op.create_index("ix_jobs_due", "jobs", ["due_at"], unique=False, postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_index("ix_jobs_metadata", "jobs", ["metadata"], unique=False, postgresql_using="gin")
    op.create_index("ix_jobs_project", "jobs", ["project_id", "id"], unique=False)
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("line_item", sa.Text(), nullable=False),
        sa.Column("reserved_micros", sa.BigInteger(), nullable=False),
        sa.Column("spent_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("overage_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("kind IN ('reserve', 'post', 'void')", name=op.f("ck_ledger_entries_kind")),
        sa.CheckConstraint(
            "reserved_micros >= 0 AND spent_micros >= 0 AND overage_micros >= 0", name=op.f("ck_ledger_entries_amounts")
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "month"],
            ["balances.project_id", "balances.month"],
            name=op.f("fk_ledger_entries_project_id_month"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
    )
    op.create_index("ix_ledger_entries_project", "ledger_entries", ["project_id", "month"], unique=False)
    op.create_index(
        "uq_ledger_entries_reserve",
        "ledger_entries",
        ["subject"],
        unique=True,
        postgresql_where=sa.text("kind = 'reserve'"),
    )
    op.create_index(
        "uq_ledger_entries_resolve",
        "ledger_entries",
        ["subject"],
        unique=True,
        postgresql_where=sa.text("kind <> 'reserve'"),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("status IN ('pending', 'succeeded', 'failed')", name=op.f("ck_webhook_deliveries_status")),
        sa.ForeignKeyConstraint(
            ["project_id", "endpoint_id"],
            ["webhook_endpoints.project_id", "webhook_endpoints.id"],
            name=op.f("fk_webhook_deliveries_project_id_endpoint_id"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "event_id"],
            ["webhook_events.project_id", "webhook_events.id"],
            name=op.f("fk_webhook_deliveries_project_id_event_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint("event_id", "endpoint_id", name=op.f("uq_webhook_deliveries_event_id_endpoint_id")),
        sa.UniqueConstraint("project_id", "id", name=op.f("uq_webhook_deliveries_project_id_id")),
    )
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_webhook_deliveries_endpoint", "webhook_deliveries", ["endpoint_id", "id"], unique=False)
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("step_number", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("upstream_checkpoint_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "job_id"], ["jobs.project_id", "jobs.id"], name=op.f("fk_checkpoints_project_id_job_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint(
            "job_id", "upstream_checkpoint_id", name=op.f("uq_checkpoints_job_id_upstream_checkpoint_id")
        ),
    )
    op.create_index("ix_checkpoints_job", "checkpoints", ["job_id", "id"], unique=False)
    op.create_table(
        "job_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("upstream_event_id", sa.Text(), nullable=True),
        sa.CheckConstraint("level IN ('info', 'warn', 'error')", name=op.f("ck_job_events_level")),
        sa.CheckConstraint("type IN ('message', 'metrics')", name=op.f("ck_job_events_type")),
        sa.ForeignKeyConstraint(
            ["project_id", "job_id"], ["jobs.project_id", "jobs.id"], name=op.f("fk_job_events_project_id_job_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_events")),
        sa.UniqueConstraint("job_id", "sequence", name=op.f("uq_job_events_job_id_sequence")),
        sa.UniqueConstraint("job_id", "upstream_event_id", name=op.f("uq_job_events_job_id_upstream_event_id")),
    )
    op.create_table(
        "job_metrics",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("train_loss", sa.Double(), nullable=True),
        sa.Column("train_mean_token_accuracy", sa.Double(), nullable=True),
        sa.Column("valid_loss", sa.Double(), nullable=True),
        sa.Column("valid_mean_token_accuracy", sa.Double(), nullable=True),
        sa.Column("full_valid_loss", sa.Double(), nullable=True),
        sa.Column("full_valid_mean_token_accuracy", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id", "job_id"], ["jobs.project_id", "jobs.id"], name=op.f("fk_job_metrics_project_id_job_id")
        ),
        sa.PrimaryKeyConstraint("job_id", "step", name=op.f("pk_job_metrics")),
    )
    op.create_table(
        "job_states",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "entered_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "job_id"], ["jobs.project_id", "jobs.id"], name=op.f("fk_job_states_project_id_job_id")
        ),
        sa.PrimaryKeyConstraint("job_id", "sequence", name=op.f("pk_job_states")),
    )
    op.create_table(
        "models",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("upstream_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('model', 'checkpoint')", name=op.f("ck_models_kind")),
        sa.ForeignKeyConstraint(["account_id"], ["upstream_accounts.id"], name=op.f("fk_models_account_id")),
        sa.ForeignKeyConstraint(
            ["project_id", "job_id"], ["jobs.project_id", "jobs.id"], name=op.f("fk_models_project_id_job_id")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_models")),
    )
    op.create_index("ix_models_project", "models", ["project_id", "created_at"], unique=False)
    op.create_table(
        "upstream_calls",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("upstream_job_id", sa.Text(), nullable=False),
        sa.Column("cancelled_as_stray_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["upstream_accounts.id"], name=op.f("fk_upstream_calls_account_id")),
        sa.ForeignKeyConstraint(
            ["project_id", "job_id"], ["jobs.project_id", "jobs.id"], name=op.f("fk_upstream_calls_project_id_job_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upstream_calls")),
        sa.UniqueConstraint("job_id", "upstream_job_id", name=op.f("uq_upstream_calls_job_id_upstream_job_id")),
    )
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("latency_ms", sa.BigInteger(), nullable=False),
        sa.Column("status_code", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id", "delivery_id"],
            ["webhook_deliveries.project_id", "webhook_deliveries.id"],
            name=op.f("fk_webhook_attempts_project_id_delivery_id"),
        ),
        sa.PrimaryKeyConstraint("delivery_id", "attempt", name=op.f("pk_webhook_attempts")),
    )

    _secure()


def _secure() -> None:
    op.execute(SERVICE_ROLE)
    op.execute(GRANT_TO_OWNER)
    op.execute("GRANT USAGE ON SCHEMA public TO tunegate_service")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO tunegate_service")
    op.execute("REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM tunegate_service")
    for table in APPEND_ONLY:
        op.execute(f"REVOKE UPDATE, DELETE ON {table} FROM tunegate_service")
    for table in TENANT_TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(SCOPE_POLICY.format(table=table, column="id" if table == "projects" else "project_id"))
    op.execute("INSERT INTO gateway (id, instance) VALUES (1, replace(gen_random_uuid()::text, '-', ''))")


def downgrade() -> None:
    op.drop_table("webhook_attempts")
    op.drop_table("upstream_calls")
    op.drop_index("ix_models_project", table_name="models")
    op.drop_table("models")
    op.drop_table("job_states")
    op.drop_table("job_metrics")
    op.drop_table("job_events")
    op.drop_index("ix_checkpoints_job", table_name="checkpoints")
    op.drop_table("checkpoints")
    op.drop_index("ix_webhook_deliveries_endpoint", table_name="webhook_deliveries")
    op.drop_index(
        "ix_webhook_deliveries_due", table_name="webhook_deliveries", postgresql_where=sa.text("due_at IS NOT NULL")
    )
    op.drop_table("webhook_deliveries")
    op.drop_index(
        "uq_ledger_entries_resolve", table_name="ledger_entries", postgresql_where=sa.text("kind <> 'reserve'")
    )
    op.drop_index(
        "uq_ledger_entries_reserve", table_name="ledger_entries", postgresql_where=sa.text("kind = 'reserve'")
    )
    op.drop_index("ix_ledger_entries_project", table_name="ledger_entries")
    op.drop_table("ledger_entries")
    op.drop_index("ix_jobs_project", table_name="jobs")
    op.drop_index("ix_jobs_metadata", table_name="jobs", postgresql_using="gin")
    op.drop_index("ix_jobs_due", table_name="jobs", postgresql_where=sa.text("due_at IS NOT NULL"))
    op.drop_index("ix_jobs_account_state", table_name="jobs")
    op.drop_table("jobs")
    op.drop_index("ix_file_reports_due", table_name="file_reports", postgresql_where=sa.text("due_at IS NOT NULL"))
    op.drop_table("file_reports")
    op.drop_index("ix_webhook_events_project", table_name="webhook_events")
    op.drop_table("webhook_events")
    op.drop_index(
        "ix_webhook_endpoints_project", table_name="webhook_endpoints", postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.drop_table("webhook_endpoints")
    op.drop_table("upstream_files")
    op.drop_index("ix_remembered_requests_created", table_name="remembered_requests")
    op.drop_index("ix_remembered_requests_body", table_name="remembered_requests")
    op.drop_table("remembered_requests")
    op.drop_table("quotes")
    op.drop_table("pending_uploads")
    op.drop_index("ix_files_project", table_name="files", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_table("files")
    op.drop_table("balances")
    op.drop_table("api_keys")
    op.drop_table("upstream_accounts")
    op.drop_table("projects")
    op.drop_table("gateway")
