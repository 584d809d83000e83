"""Comparisons of models: their cases, and jobs that are deployed when one passes.

Revision: 0016, after 0015
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

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

DEPLOY_STATUS = "deploy_status IS NULL OR (deploy_status IN ({states}) AND deploy_alias IS NOT NULL)"


def upgrade() -> None:
    table = "comparison_cases"
    op.create_table(
        table,
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("offset_bytes", sa.BigInteger(), nullable=False),
        sa.Column("winner", sa.BigInteger(), nullable=True),
        sa.Column("failed", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("scores", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("marks", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("place >= 0 AND line > 0 AND offset_bytes >= 0", name=op.f("ck_comparison_cases_places")),
        sa.ForeignKeyConstraint(
            ["project_id", "run_id"],
            ["runs.project_id", "runs.id"],
            name=op.f("fk_comparison_cases_project_id_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "place", name=op.f("pk_comparison_cases")),
    )
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO tunegate_service")
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(SCOPE_POLICY.format(table=table))

    op.add_column(
        "jobs",
        sa.Column("deploy_comparison", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    )
    op.add_column("jobs", sa.Column("deploy_run_id", sa.Text(), nullable=True))
    op.drop_constraint(op.f("ck_jobs_deploy_status"), "jobs")
    op.create_check_constraint(
        op.f("ck_jobs_deploy_status"),
        "jobs",
        DEPLOY_STATUS.format(states="'comparing', 'deployed', 'refused'"),
    )
    op.create_index("ix_jobs_comparing", "jobs", ["id"], postgresql_where=sa.text("deploy_status = 'comparing'"))


def downgrade() -> None:
    op.drop_index("ix_jobs_comparing", "jobs")
    op.execute("UPDATE jobs SET deploy_status = 'refused' WHERE deploy_status = 'comparing'")
    op.drop_constraint(op.f("ck_jobs_deploy_status"), "jobs")
    op.create_check_constraint(
        op.f("ck_jobs_deploy_status"), "jobs", DEPLOY_STATUS.format(states="'deployed', 'refused'")
    )
    op.drop_column("jobs", "deploy_run_id")
    op.drop_column("jobs", "deploy_comparison")
    op.drop_table("comparison_cases")
