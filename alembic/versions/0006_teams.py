"""Service accounts, roles of keys, and the audit log.

Revision: 0006, after 0005
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCOPED = ("service_accounts", "checkpoint_permissions", "audit_logs")

SCOPE_POLICY = """
    CREATE POLICY scope ON {table} USING (
        CASE current_setting('tunegate.scope', true)
            WHEN 'project' THEN project_id = NULLIF(current_setting('tunegate.project', true), '')
            WHEN 'worker' THEN true
            WHEN 'admin' THEN true
            ELSE false
        END
    )
"""

GRANTED_MODELS_POLICY = """
    CREATE POLICY granted ON models FOR SELECT USING (
        current_setting('tunegate.scope', true) = 'project'
        AND name IN (
            SELECT model FROM checkpoint_permissions
            WHERE project_id = NULLIF(current_setting('tunegate.project', true), '')
        )
    )
"""
"""A project sees, but cannot change, the models that it was granted."""


def upgrade() -> None:
    op.create_table(
        "service_accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), server_default="member", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('owner', 'member', 'none')", name=op.f("ck_service_accounts_role")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_service_accounts_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_accounts")),
        sa.UniqueConstraint("project_id", "id", name=op.f("uq_service_accounts_project_id_id")),
    )
    op.create_index(
        "ix_service_accounts_project",
        "service_accounts",
        ["project_id", "id"],
        postgresql_where=sa.text("deleted_at IS NULL"),
    )

    op.add_column("api_keys", sa.Column("service_account_id", sa.Text(), nullable=True))
    op.add_column("api_keys", sa.Column("scopes", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False))
    op.create_check_constraint(
        op.f("ck_api_keys_service_account"), "api_keys", "service_account_id IS NULL OR project_id IS NOT NULL"
    )
    op.create_foreign_key(
        op.f("fk_api_keys_project_id_service_account_id"),
        "api_keys",
        "service_accounts",
        ["project_id", "service_account_id"],
        ["project_id", "id"],
    )
    op.create_index(
        "ix_api_keys_project", "api_keys", ["project_id", "id"], postgresql_where=sa.text("revoked_at IS NULL")
    )

    op.create_table(
        "checkpoint_permissions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_checkpoint_permissions_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoint_permissions")),
        sa.UniqueConstraint("project_id", "model", name=op.f("uq_checkpoint_permissions_project_id_model")),
    )
    op.create_index("ix_checkpoint_permissions_model", "checkpoint_permissions", ["model", "id"])

    op.create_table(
        "audit_logs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("effective_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("service_account_id", sa.Text(), nullable=True),
        sa.Column("ip_address", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("resource_id", sa.Text(), nullable=True),
        sa.Column(
            "detail",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
        sa.CheckConstraint("actor IN ('api_key', 'session', 'system')", name=op.f("ck_audit_logs_actor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_logs")),
    )
    op.create_index("ix_audit_logs_project", "audit_logs", ["project_id", "id"])
    op.create_index("ix_audit_logs_type", "audit_logs", ["type", "id"])
    op.create_index("ix_audit_logs_resource", "audit_logs", ["resource_id", "id"])
    op.create_index("ix_audit_logs_key", "audit_logs", ["key_id", "id"])
    op.create_index("ix_audit_logs_effective", "audit_logs", ["effective_at"])

    op.create_table(
        "refusals",
        sa.Column("audit_log_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.BigInteger(), server_default="1", nullable=False),
        sa.CheckConstraint("count > 0", name=op.f("ck_refusals_count")),
        sa.ForeignKeyConstraint(["audit_log_id"], ["audit_logs.id"], name=op.f("fk_refusals_audit_log_id")),
        sa.PrimaryKeyConstraint("audit_log_id", name=op.f("pk_refusals")),
        sa.UniqueConstraint("kind", "subject", "minute", name=op.f("uq_refusals_kind_subject_minute")),
    )

    op.alter_column("remembered_requests", "project_id", nullable=True)
    op.create_index(
        "uq_remembered_requests_organization",
        "remembered_requests",
        ["route", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("project_id IS NULL"),
    )
    _secure()


def _secure() -> None:
    for table in ("service_accounts", "checkpoint_permissions"):
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO tunegate_service")
    op.execute("GRANT SELECT, INSERT ON audit_logs TO tunegate_service")
    op.execute("GRANT SELECT, INSERT, UPDATE ON refusals TO tunegate_service")
    for table in SCOPED:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(SCOPE_POLICY.format(table=table))
    op.execute(GRANTED_MODELS_POLICY)


def downgrade() -> None:
    op.execute("DROP POLICY granted ON models")
    op.drop_index("uq_remembered_requests_organization", table_name="remembered_requests")
    op.execute("DELETE FROM remembered_requests WHERE project_id IS NULL")
    op.alter_column("remembered_requests", "project_id", nullable=False)
    op.drop_table("refusals")
    op.drop_table("audit_logs")
    op.drop_table("checkpoint_permissions")
    op.drop_index("ix_api_keys_project", table_name="api_keys")
    op.drop_constraint(op.f("fk_api_keys_project_id_service_account_id"), "api_keys", type_="foreignkey")
    op.drop_constraint(op.f("ck_api_keys_service_account"), "api_keys", type_="check")
    op.drop_column("api_keys", "scopes")
    op.drop_column("api_keys", "service_account_id")
    op.drop_table("service_accounts")
