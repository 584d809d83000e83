"""Deleting upstream copies and whole projects; retention; pruning of what was append-only.

Revision: 0010, after 0009
"""

import sqlalchemy as sa

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLE = "deletions"

SCOPE_POLICY = """
    CREATE POLICY scope ON deletions USING (
        CASE current_setting('tunegate.scope', true)
            WHEN 'project' THEN project_id = NULLIF(current_setting('tunegate.project', true), '')
            WHEN 'worker' THEN true
            WHEN 'admin' THEN true
            ELSE false
        END
    )
"""

PRUNED = ("job_states", "webhook_events")
"""Nothing changes what they say. A worker may remove them, by the rules of pruning and with their project."""

PRUNING_POLICY = """
    CREATE POLICY pruning ON {table} AS RESTRICTIVE FOR DELETE
    USING (current_setting('tunegate.scope', true) = 'worker')
"""


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("upstream_id", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "kind IN ('file', 'upstream_file', 'upstream_model', 'project')", name=op.f("ck_deletions_kind")
        ),
        sa.CheckConstraint("status IN ('pending', 'done', 'failed')", name=op.f("ck_deletions_status")),
        sa.CheckConstraint("(status = 'pending') = (finished_at IS NULL)", name=op.f("ck_deletions_finished")),
        sa.CheckConstraint("status = 'pending' OR due_at IS NULL", name=op.f("ck_deletions_ended")),
        sa.CheckConstraint(
            "(kind IN ('upstream_file', 'upstream_model')) = (account_id IS NOT NULL)",
            name=op.f("ck_deletions_account"),
        ),
        sa.CheckConstraint(
            "kind <> 'upstream_file' OR (sha256 IS NOT NULL AND size_bytes IS NOT NULL)",
            name=op.f("ck_deletions_content"),
        ),
        sa.CheckConstraint("kind <> 'upstream_model' OR upstream_id IS NOT NULL", name=op.f("ck_deletions_model")),
        sa.ForeignKeyConstraint(["account_id"], ["upstream_accounts.id"], name=op.f("fk_deletions_account_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_deletions_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deletions")),
    )
    op.create_index(
        "uq_deletions_subject", TABLE, ["kind", "subject"], unique=True, postgresql_where=sa.text("status <> 'done'")
    )
    op.create_index("ix_deletions_due", TABLE, ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_index("ix_deletions_project", TABLE, ["project_id", "id"])
    op.create_index("ix_deletions_open", TABLE, ["project_id"], postgresql_where=sa.text("status <> 'done'"))
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO tunegate_service")
    op.execute(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {TABLE} FORCE ROW LEVEL SECURITY")
    op.execute(SCOPE_POLICY)

    op.drop_constraint(op.f("ck_projects_status"), "projects")
    op.create_check_constraint(
        op.f("ck_projects_status"), "projects", "status IN ('active', 'archived', 'deleting', 'deleted')"
    )
    op.add_column("projects", sa.Column("retention_days", sa.BigInteger(), nullable=True))
    op.create_check_constraint(op.f("ck_projects_retention"), "projects", "retention_days > 0")
    op.create_index(
        "ix_files_content", "files", ["project_id", "sha256"], postgresql_where=sa.text("deleted_at IS NULL")
    )
    op.create_index(
        "ix_files_content_left",
        "files",
        ["id"],
        postgresql_where=sa.text("deleted_at IS NOT NULL AND content_deleted_at IS NULL"),
    )
    op.create_index("ix_jobs_training_file", "jobs", ["training_file_id"])
    op.create_index(
        "ix_jobs_validation_file",
        "jobs",
        ["validation_file_id"],
        postgresql_where=sa.text("validation_file_id IS NOT NULL"),
    )
    for table in PRUNED:
        op.execute(f"GRANT DELETE ON {table} TO tunegate_service")
        op.execute(PRUNING_POLICY.format(table=table))


def downgrade() -> None:
    for table in PRUNED:
        op.execute(f"DROP POLICY pruning ON {table}")
        op.execute(f"REVOKE DELETE ON {table} FROM tunegate_service")
    op.drop_index("ix_jobs_validation_file", "jobs")
    op.drop_index("ix_jobs_training_file", "jobs")
    op.drop_index("ix_files_content_left", "files")
    op.drop_index("ix_files_content", "files")
    op.drop_constraint(op.f("ck_projects_retention"), "projects")
    op.drop_column("projects", "retention_days")
    op.drop_constraint(op.f("ck_projects_status"), "projects")
    op.execute("UPDATE projects SET status = 'archived' WHERE status IN ('deleting', 'deleted')")
    op.create_check_constraint(op.f("ck_projects_status"), "projects", "status IN ('active', 'archived')")
    op.drop_table(TABLE)
