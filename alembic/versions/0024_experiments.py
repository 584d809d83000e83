"""Experiments: jobs that differ by their settings or their share of the data, under one budget.

Revision: 0024, after 0023
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

TABLES = ("experiments", "experiment_arms")

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
        "experiments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("api_key_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("request", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("training_file_id", sa.Text(), nullable=False),
        sa.Column("validation_file_id", sa.Text(), nullable=True),
        sa.Column("budget_micros", sa.BigInteger(), nullable=False),
        sa.Column("max_parallel", sa.BigInteger(), nullable=False),
        sa.Column("comparison_run_id", sa.Text(), nullable=True),
        sa.Column("comparison_detail", sa.Text(), nullable=True),
        sa.Column("promotion_status", sa.Text(), nullable=True),
        sa.Column("promotion_detail", sa.Text(), nullable=True),
        sa.Column("outcome", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("waiting_reason", sa.Text(), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_param", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("(status = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_experiments_has_error")),
        sa.CheckConstraint(
            "(status IN ('pending', 'running', 'comparing')) = (finished_at IS NULL)",
            name=op.f("ck_experiments_finished"),
        ),
        sa.CheckConstraint("promotion_status IN ('promoted', 'refused')", name=op.f("ck_experiments_promotion_status")),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'comparing', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_experiments_status"),
        ),
        sa.CheckConstraint("budget_micros >= 0 AND max_parallel > 0", name=op.f("ck_experiments_bounds")),
        sa.CheckConstraint("finished_at IS NULL OR due_at IS NULL", name=op.f("ck_experiments_ended")),
        sa.ForeignKeyConstraint(
            ["project_id", "training_file_id"],
            ["files.project_id", "files.id"],
            name=op.f("fk_experiments_project_id_training_file_id"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "validation_file_id"],
            ["files.project_id", "files.id"],
            name=op.f("fk_experiments_project_id_validation_file_id"),
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_experiments_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sa.UniqueConstraint("project_id", "id", name=op.f("uq_experiments_project_id_id")),
    )
    op.create_index(
        "ix_experiments_due", "experiments", ["due_at"], unique=False, postgresql_where=sa.text("due_at IS NOT NULL")
    )
    op.create_index(
        "ix_experiments_project", "experiments", ["project_id", sa.literal_column("id DESC NULLS LAST")], unique=False
    )
    op.create_index(
        "ix_experiments_project_due",
        "experiments",
        ["project_id", sa.literal_column("due_at NULLS FIRST")],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_experiments_run",
        "experiments",
        ["comparison_run_id"],
        unique=False,
        postgresql_where=sa.text("comparison_run_id IS NOT NULL"),
    )
    op.create_index(
        "ix_experiments_unfinished",
        "experiments",
        ["project_id"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "experiment_arms",
        sa.Column("experiment_id", sa.Text(), nullable=False),
        sa.Column("arm", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("settings", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("examples", sa.BigInteger(), nullable=False),
        sa.Column("expected_micros", sa.BigInteger(), nullable=False),
        sa.Column("upper_micros", sa.BigInteger(), nullable=False),
        sa.Column("training_file_id", sa.Text(), nullable=True),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("skipped_reason", sa.Text(), nullable=True),
        sa.Column("stopped_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "job_id IS NULL OR skipped_reason IS NULL", name=op.f("ck_experiment_arms_started_or_skipped")
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "experiment_id"],
            ["experiments.project_id", "experiments.id"],
            name=op.f("fk_experiment_arms_project_id_experiment_id"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "training_file_id"],
            ["files.project_id", "files.id"],
            name=op.f("fk_experiment_arms_project_id_training_file_id"),
        ),
        sa.PrimaryKeyConstraint("experiment_id", "arm", name=op.f("pk_experiment_arms")),
    )
    op.create_index(
        "ix_experiment_arms_file",
        "experiment_arms",
        ["training_file_id"],
        unique=False,
        postgresql_where=sa.text("training_file_id IS NOT NULL"),
    )
    for table in TABLES:
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO tunegate_service")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(SCOPE_POLICY.format(table=table))
    op.add_column("jobs", sa.Column("experiment_id", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("experiment_arm", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_jobs_experiment",
        "jobs",
        ["experiment_id", "experiment_arm"],
        unique=True,
        postgresql_where=sa.text("experiment_id IS NOT NULL"),
    )
    op.create_foreign_key(
        op.f("fk_jobs_project_id_experiment_id"),
        "jobs",
        "experiments",
        ["project_id", "experiment_id"],
        ["project_id", "id"],
    )
    op.create_check_constraint(op.f("ck_jobs_experiment"), "jobs", "(experiment_id IS NULL) = (experiment_arm IS NULL)")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_jobs_experiment"), "jobs", type_="check")
    op.drop_constraint(op.f("fk_jobs_project_id_experiment_id"), "jobs", type_="foreignkey")
    op.drop_index("ix_jobs_experiment", table_name="jobs")
    op.drop_column("jobs", "experiment_arm")
    op.drop_column("jobs", "experiment_id")
    for table in reversed(TABLES):
        op.drop_table(table)
