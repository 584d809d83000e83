"""Fair shares: due rows by project; deployments as leased work; endpoints that are slow.

Revision: 0017, after 0016
"""

import sqlalchemy as sa

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TABLE = "deployments"

CLAIMED_BY_PROJECT = ("jobs", "file_reports", "leakage_reports", "dataset_preparations", "runs", "deletions")

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

BACKFILL = """
    INSERT INTO deployments (id, project_id, due_at)
    SELECT id, project_id, now() FROM jobs WHERE deploy_status = 'comparing'
"""
"""Until workers of the earlier version have stopped, they may begin more; the leader adds their rows."""


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "id"], ["jobs.project_id", "jobs.id"], name=op.f("fk_deployments_project_id_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments")),
    )
    op.create_index("ix_deployments_due", TABLE, ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.execute("SELECT set_config('tunegate.scope', 'admin', true)")  # the owner, too, sees rows in a scope only
    op.execute(BACKFILL)
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO tunegate_service")
    op.execute(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {TABLE} FORCE ROW LEVEL SECURITY")
    op.execute(SCOPE_POLICY.format(table=TABLE))
    for table in (TABLE, *CLAIMED_BY_PROJECT):
        op.create_index(
            f"ix_{table}_project_due",
            table,
            ["project_id", "due_at"],
            postgresql_where=sa.text("due_at IS NOT NULL"),
        )
    op.add_column("webhook_endpoints", sa.Column("slow_since", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("webhook_endpoints", "slow_since")
    for table in CLAIMED_BY_PROJECT:
        op.drop_index(f"ix_{table}_project_due", table)
    op.drop_table(TABLE)
