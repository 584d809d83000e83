"""Runs of many calls of inference: the runs, their finished calls, their events.

Revision: 0015, after 0014
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TABLES = ("runs", "run_calls", "run_events")

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
        "runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("api_key_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("options", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("concurrency", sa.BigInteger(), nullable=False),
        sa.Column("budget_micros", sa.BigInteger(), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("calls", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("input_file_id", sa.Text(), nullable=True),
        sa.Column("output_file_id", sa.Text(), nullable=True),
        sa.Column("outcome", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("waiting_reason", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_param", sa.Text(), nullable=True),
        sa.Column("last_sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("news_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("kind IN ('generation', 'comparison')", name=op.f("ck_runs_kind")),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'succeeded', 'failed', 'cancelled')", name=op.f("ck_runs_status")
        ),
        sa.CheckConstraint("(status IN ('pending', 'running')) = (finished_at IS NULL)", name=op.f("ck_runs_finished")),
        sa.CheckConstraint("finished_at IS NULL OR due_at IS NULL", name=op.f("ck_runs_ended")),
        sa.CheckConstraint("status <> 'succeeded' OR outcome IS NOT NULL", name=op.f("ck_runs_has_outcome")),
        sa.CheckConstraint("(status = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_runs_has_error")),
        sa.CheckConstraint("budget_micros >= 0 AND cost_micros >= 0", name=op.f("ck_runs_amounts")),
        sa.CheckConstraint("concurrency > 0", name=op.f("ck_runs_concurrency")),
        sa.CheckConstraint("done >= 0 AND done <= total", name=op.f("ck_runs_progress")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_runs_project_id")),
        sa.ForeignKeyConstraint(
            ["project_id", "input_file_id"],
            ["files.project_id", "files.id"],
            name=op.f("fk_runs_project_id_input_file_id"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id", "output_file_id"],
            ["files.project_id", "files.id"],
            name=op.f("fk_runs_project_id_output_file_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("project_id", "id", name=op.f("uq_runs_project_id_id")),
    )
    op.create_index("ix_runs_project", "runs", ["project_id", "kind", "id"])
    op.create_index("ix_runs_due", "runs", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    for side in ("input", "output"):
        column = f"{side}_file_id"
        op.create_index(f"ix_runs_{side}", "runs", [column], postgresql_where=sa.text(f"{column} IS NOT NULL"))

    op.create_table(
        "run_calls",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("message", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(message IS NULL) <> (refusal IS NULL)", name=op.f("ck_run_calls_answered")),
        sa.ForeignKeyConstraint(
            ["project_id", "run_id"], ["runs.project_id", "runs.id"], name=op.f("fk_run_calls_project_id_run_id")
        ),
        sa.PrimaryKeyConstraint("run_id", "key", name=op.f("pk_run_calls")),
    )

    op.create_table(
        "run_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("level IN ('info', 'warn', 'error')", name=op.f("ck_run_events_level")),
        sa.CheckConstraint("type IN ('message', 'progress')", name=op.f("ck_run_events_type")),
        sa.ForeignKeyConstraint(
            ["project_id", "run_id"], ["runs.project_id", "runs.id"], name=op.f("fk_run_events_project_id_run_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_events")),
        sa.UniqueConstraint("run_id", "sequence", name=op.f("uq_run_events_run_id_sequence")),
    )
    for table in TABLES:
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO tunegate_service")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(SCOPE_POLICY.format(table=table))

    op.add_column("open_inferences", sa.Column("run_id", sa.Text(), nullable=True))
    op.add_column("open_inferences", sa.Column("call_key", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_open_inferences_of_run"), "open_inferences", "(run_id IS NULL) = (call_key IS NULL)"
    )
    op.create_foreign_key(
        op.f("fk_open_inferences_project_id_run_id"),
        "open_inferences",
        "runs",
        ["project_id", "run_id"],
        ["project_id", "id"],
    )
    op.create_index(
        "ix_open_inferences_run",
        "open_inferences",
        ["run_id", "call_key"],
        unique=True,
        postgresql_where=sa.text("run_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_open_inferences_run", "open_inferences")
    op.drop_constraint(op.f("fk_open_inferences_project_id_run_id"), "open_inferences")
    op.drop_constraint(op.f("ck_open_inferences_of_run"), "open_inferences")
    op.drop_column("open_inferences", "call_key")
    op.drop_column("open_inferences", "run_id")
    for table in reversed(TABLES):
        op.drop_table(table)
