"""Names in the audit log, and an index for a project's own costs and usage.

Revision: 0023, after 0022
"""

import sqlalchemy as sa

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("audit_logs", sa.Column("key_name", sa.Text(), nullable=True))
    op.add_column("audit_logs", sa.Column("service_account_name", sa.Text(), nullable=True))
    op.add_column("audit_logs", sa.Column("resource_name", sa.Text(), nullable=True))
    op.create_index(
        "ix_ledger_entries_project_posted",
        "ledger_entries",
        ["project_id", "created_at"],
        postgresql_where=sa.text("kind = 'post'"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_ledger_entries_project_posted", table_name="ledger_entries", postgresql_where=sa.text("kind = 'post'")
    )
    op.drop_column("audit_logs", "resource_name")
    op.drop_column("audit_logs", "service_account_name")
    op.drop_column("audit_logs", "key_name")
