"""Leakage between a training and a validation file.

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLE = "leakage_reports"

SCOPE_POLICY = """
    CREATE POLICY scope ON leakage_reports USING (
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
        TABLE,
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("training_file_id", sa.Text(), nullable=False),
        sa.Column("validation_file_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("progress_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("result", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("status IN ('pending', 'ready')", name=op.f("ck_leakage_reports_status")),
        sa.CheckConstraint("(status = 'ready') = (result IS NOT NULL)", name=op.f("ck_leakage_reports_ready")),
        sa.ForeignKeyConstraint(
            ["project_id", "training_file_id"],
            ["files.project_id", "files.id"],
            name=op.f("fk_leakage_reports_project_id_training_file_id"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "validation_file_id"],
            ["files.project_id", "files.id"],
            name=op.f("fk_leakage_reports_project_id_validation_file_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leakage_reports")),
        sa.UniqueConstraint(
            "training_file_id",
            "validation_file_id",
            name=op.f("uq_leakage_reports_training_file_id_validation_file_id"),
        ),
    )
    op.create_index("ix_leakage_reports_due", TABLE, ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_index("ix_leakage_reports_validation", TABLE, ["validation_file_id"])
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO tunegate_service")
    op.execute(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {TABLE} FORCE ROW LEVEL SECURITY")
    op.execute(SCOPE_POLICY)


def downgrade() -> None:
    op.drop_table(TABLE)
