"""Limits of projects, rate limits and the fair queue.

Revision: 0009, after 0008
"""

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TENANT_TABLES = ("project_limits", "rate_limits", "training_tokens")

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


def upgrade() -> None:
    op.create_table(
        "admission_turns",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("id = 'jobs'", name=op.f("ck_admission_turns_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admission_turns")),
    )
    op.execute("INSERT INTO admission_turns (id, due_at) VALUES ('jobs', now())")
    op.execute("GRANT SELECT, UPDATE ON admission_turns TO tunegate_service")
    op.create_table(
        "project_limits",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("max_storage_bytes", sa.BigInteger(), nullable=True),
        sa.Column("max_file_bytes", sa.BigInteger(), nullable=True),
        sa.Column("max_training_tokens_per_month", sa.BigInteger(), nullable=True),
        sa.Column("max_requests_per_key_per_1_minute", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("max_storage_bytes >= 0", name=op.f("ck_project_limits_storage")),
        sa.CheckConstraint("max_file_bytes > 0", name=op.f("ck_project_limits_file")),
        sa.CheckConstraint("max_training_tokens_per_month >= 0", name=op.f("ck_project_limits_training_tokens")),
        sa.CheckConstraint("max_requests_per_key_per_1_minute > 0", name=op.f("ck_project_limits_key_requests")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_limits_project_id")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_limits")),
    )
    op.create_table(
        "rate_limits",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("max_requests_per_1_minute", sa.BigInteger(), nullable=True),
        sa.Column("max_tokens_per_1_minute", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("max_requests_per_1_minute > 0", name=op.f("ck_rate_limits_requests")),
        sa.CheckConstraint("max_tokens_per_1_minute > 0", name=op.f("ck_rate_limits_tokens")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_rate_limits_project_id")),
        sa.PrimaryKeyConstraint("project_id", "model", name=op.f("pk_rate_limits")),
    )
    op.create_table(
        "training_tokens",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("reserved_tokens", sa.BigInteger(), nullable=False),
        sa.Column("trained_tokens", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("reserved_tokens >= 0 AND trained_tokens >= 0", name=op.f("ck_training_tokens_amounts")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_training_tokens_project_id")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_training_tokens")),
    )
    op.create_index("ix_training_tokens_month", "training_tokens", ["project_id", "month"])
    for table in TENANT_TABLES:
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO tunegate_service")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(SCOPE_POLICY.format(table=table))
    op.alter_column("projects", "max_active_jobs", nullable=True)
    op.alter_column("projects", "max_queued_jobs", nullable=True)
    op.add_column("jobs", sa.Column("admitted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_jobs_waiting", "jobs", ["project_id", "created_at"], postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_index("ix_jobs_admitted", "jobs", ["account_id", "project_id", "admitted_at"])
    op.create_index("ix_jobs_succeeded", "jobs", ["finished_at"], postgresql_where=sa.text("state = 'succeeded'"))


def downgrade() -> None:
    op.execute("SELECT set_config('tunegate.scope', 'admin', true)")  # the owner, too, sees rows in a scope only
    op.execute("UPDATE jobs SET due_at = now() WHERE state = 'waiting'")
    op.drop_index("ix_jobs_succeeded", table_name="jobs", postgresql_where=sa.text("state = 'succeeded'"))
    op.drop_index("ix_jobs_admitted", table_name="jobs")
    op.drop_index("ix_jobs_waiting", table_name="jobs", postgresql_where=sa.text("state = 'waiting'"))
    op.drop_column("jobs", "admitted_at")
    op.execute("UPDATE projects SET max_active_jobs = coalesce(max_active_jobs, 1000000)")
    op.execute("UPDATE projects SET max_queued_jobs = coalesce(max_queued_jobs, 1000000)")
    op.alter_column("projects", "max_queued_jobs", nullable=False)
    op.alter_column("projects", "max_active_jobs", nullable=False)
    op.drop_table("training_tokens")
    op.drop_table("rate_limits")
    op.drop_table("project_limits")
    op.drop_table("admission_turns")
