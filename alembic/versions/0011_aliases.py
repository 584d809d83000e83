"""Model aliases and their history; the alias that a job deploys to.

Revision: 0011, after 0010
"""

import sqlalchemy as sa

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = ("model_aliases", "alias_promotions")

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
        "model_aliases",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_model_aliases_version")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_model_aliases_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_aliases")),
        sa.UniqueConstraint("project_id", "id", name=op.f("uq_model_aliases_project_id_id")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_model_aliases_project_id_name")),
    )
    op.create_table(
        "alias_promotions",
        sa.Column("alias_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("undo_version", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "action IN ('created', 'promoted', 'rolled_back', 'deployed')", name=op.f("ck_alias_promotions_action")
        ),
        sa.CheckConstraint("(key_id IS NULL) <> (job_id IS NULL)", name=op.f("ck_alias_promotions_by")),
        sa.CheckConstraint("(action = 'deployed') = (job_id IS NOT NULL)", name=op.f("ck_alias_promotions_deployed")),
        sa.CheckConstraint("undo_version < version", name=op.f("ck_alias_promotions_undo_version")),
        sa.ForeignKeyConstraint(
            ["project_id", "alias_id"],
            ["model_aliases.project_id", "model_aliases.id"],
            name=op.f("fk_alias_promotions_project_id_alias_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("alias_id", "version", name=op.f("pk_alias_promotions")),
    )
    op.add_column("jobs", sa.Column("deploy_alias", sa.Text(), nullable=True))
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON model_aliases TO tunegate_service")
    op.execute("GRANT SELECT, INSERT ON alias_promotions TO tunegate_service")
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(SCOPE_POLICY.format(table=table))


def downgrade() -> None:
    op.drop_column("jobs", "deploy_alias")
    for table in reversed(TABLES):
        op.drop_table(table)
