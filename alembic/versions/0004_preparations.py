"""Dataset preparations: files that are made into training data.

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLE = "dataset_preparations"

SCOPE_POLICY = """
    CREATE POLICY scope ON dataset_preparations USING (
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
        sa.Column("input_file_id", sa.Text(), nullable=False),
        sa.Column("input_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("options", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("progress_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("training_file_id", sa.Text(), nullable=True),
        sa.Column("validation_file_id", sa.Text(), nullable=True),
        sa.Column("changes_key", sa.Text(), nullable=True),
        sa.Column("changes_size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("outcome", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_param", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_dataset_preparations_status"),
        ),
        sa.CheckConstraint(
            "(status IN ('pending', 'running')) = (finished_at IS NULL)", name=op.f("ck_dataset_preparations_finished")
        ),
        sa.CheckConstraint("finished_at IS NULL OR due_at IS NULL", name=op.f("ck_dataset_preparations_ended")),
        sa.CheckConstraint(
            "(status = 'succeeded') = (training_file_id IS NOT NULL)", name=op.f("ck_dataset_preparations_has_output")
        ),
        sa.CheckConstraint(
            "(status = 'succeeded') = (outcome IS NOT NULL)", name=op.f("ck_dataset_preparations_has_outcome")
        ),
        sa.CheckConstraint(
            "(changes_key IS NULL) = (changes_size_bytes IS NULL)", name=op.f("ck_dataset_preparations_changes")
        ),
        sa.CheckConstraint(
            "(status = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_dataset_preparations_has_error")
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_dataset_preparations_project_id")),
        sa.ForeignKeyConstraint(
            ["project_id", "input_file_id"],
            ["files.project_id", "files.id"],
            name=op.f("fk_dataset_preparations_project_id_input_file_id"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "training_file_id"],
            ["files.project_id", "files.id"],
            name=op.f("fk_dataset_preparations_project_id_training_file_id"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "validation_file_id"],
            ["files.project_id", "files.id"],
            name=op.f("fk_dataset_preparations_project_id_validation_file_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_preparations")),
    )
    op.create_index("ix_dataset_preparations_project", TABLE, ["project_id", "id"])
    op.create_index("ix_dataset_preparations_due", TABLE, ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO tunegate_service")
    op.execute(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {TABLE} FORCE ROW LEVEL SECURITY")
    op.execute(SCOPE_POLICY)


def downgrade() -> None:
    op.drop_table(TABLE)
