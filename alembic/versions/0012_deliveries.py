"""Events in an order that can be followed; deliveries claimed by endpoint; what came of a deployment; retirements.

Revision: 0012, after 0011
"""

import sqlalchemy as sa

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

NOTICES = "retirement_notices"

SCOPE_POLICY = """
    CREATE POLICY scope ON retirement_notices USING (
        CASE current_setting('tunegate.scope', true)
            WHEN 'project' THEN project_id = NULLIF(current_setting('tunegate.project', true), '')
            WHEN 'worker' THEN true
            WHEN 'admin' THEN true
            ELSE false
        END
    )
"""


def upgrade() -> None:
    op.add_column("webhook_events", sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False))
    op.create_index("ix_webhook_events_position", "webhook_events", ["project_id", "position"])
    op.create_index(
        "ix_webhook_deliveries_endpoint_due",
        "webhook_deliveries",
        ["endpoint_id", "due_at"],
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_webhook_deliveries_under_way",
        "webhook_deliveries",
        ["endpoint_id"],
        postgresql_where=sa.text("leased_until IS NOT NULL"),
    )
    op.drop_index("ix_webhook_deliveries_due", table_name="webhook_deliveries")
    op.add_column("jobs", sa.Column("deploy_status", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("deploy_detail", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_jobs_deploy_status"),
        "jobs",
        "deploy_status IS NULL OR (deploy_status IN ('deployed', 'refused') AND deploy_alias IS NOT NULL)",
    )
    op.create_table(
        NOTICES,
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("shutdown_date", sa.Date(), nullable=False),
        sa.Column("days", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_retirement_notices_project_id")),
        sa.PrimaryKeyConstraint("project_id", "model", "shutdown_date", "days", name=op.f("pk_retirement_notices")),
    )
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {NOTICES} TO tunegate_service")
    op.execute(f"ALTER TABLE {NOTICES} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {NOTICES} FORCE ROW LEVEL SECURITY")
    op.execute(SCOPE_POLICY)


def downgrade() -> None:
    op.drop_table(NOTICES)
    op.drop_constraint(op.f("ck_jobs_deploy_status"), "jobs")
    op.drop_column("jobs", "deploy_detail")
    op.drop_column("jobs", "deploy_status")
    op.create_index(
        "ix_webhook_deliveries_due", "webhook_deliveries", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL")
    )
    op.drop_index("ix_webhook_deliveries_under_way", table_name="webhook_deliveries")
    op.drop_index("ix_webhook_deliveries_endpoint_due", table_name="webhook_deliveries")
    op.drop_index("ix_webhook_events_position", table_name="webhook_events")
    op.drop_column("webhook_events", "position")
