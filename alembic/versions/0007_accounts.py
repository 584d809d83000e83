"""Several upstream accounts with encrypted credentials.

An account may belong to a project. Rows of a project may refer to their own or to shared accounts only; foreign keys
cannot say so, since a shared account has no project, so a trigger does.

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLE = "upstream_accounts"

SCOPE_POLICY = """
    CREATE POLICY scope ON upstream_accounts USING (
        CASE current_setting('tunegate.scope', true)
            WHEN 'project' THEN project_id = NULLIF(current_setting('tunegate.project', true), '')
            WHEN 'worker' THEN true
            WHEN 'admin' THEN true
            ELSE false
        END
    )
"""

SHARED_POLICY = """
    CREATE POLICY shared ON upstream_accounts FOR SELECT USING (
        project_id IS NULL
        AND current_setting('tunegate.scope', true) = 'project'
        AND NULLIF(current_setting('tunegate.project', true), '') IS NOT NULL
    )
"""

GUARD = """
    CREATE FUNCTION tunegate_guard_account() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        account text := to_jsonb(NEW) ->> TG_ARGV[0];
    BEGIN
        IF account IS NOT NULL AND NOT EXISTS (
            SELECT FROM upstream_accounts a
            WHERE a.id = account AND (a.project_id IS NULL OR a.project_id = NEW.project_id)
        ) THEN
            RAISE EXCEPTION 'upstream account % is not for project %', account, NEW.project_id
                USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN NEW;
    END
    $$
"""

GUARDED = (
    ("jobs", "account_id"),
    ("jobs", "requested_account_id"),
    ("models", "account_id"),
    ("upstream_files", "account_id"),
    ("upstream_calls", "account_id"),
)


def _columns() -> list[sa.Column]:
    return [
        sa.Column("project_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("api_version", sa.Text(), nullable=True),
        sa.Column("credential_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("credential_set_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("models", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("methods", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("deployments", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("billed", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("drained_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_success_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error_kind", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
    ]


def upgrade() -> None:
    for column in _columns():
        op.add_column(TABLE, column)
    op.create_foreign_key(op.f("fk_upstream_accounts_project_id"), TABLE, "projects", ["project_id"], ["id"])
    op.create_check_constraint(op.f("ck_upstream_accounts_kind"), TABLE, "kind IN ('openai', 'azure')")
    op.create_check_constraint(
        op.f("ck_upstream_accounts_deleted_forgets"), TABLE, "deleted_at IS NULL OR credential_sealed IS NULL"
    )
    op.create_index("uq_upstream_accounts_own_name", TABLE, ["project_id", "name"], unique=True)
    op.create_index(
        "uq_upstream_accounts_shared_name",
        TABLE,
        ["name"],
        unique=True,
        postgresql_where=sa.text("project_id IS NULL"),
    )
    op.add_column("jobs", sa.Column("requested_account_id", sa.Text(), nullable=True))
    op.create_foreign_key(op.f("fk_jobs_requested_account_id"), "jobs", TABLE, ["requested_account_id"], ["id"])
    op.execute(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {TABLE} FORCE ROW LEVEL SECURITY")
    op.execute(SCOPE_POLICY)
    op.execute(SHARED_POLICY)
    op.execute(GUARD)
    for table, column in GUARDED:
        op.execute(
            f"CREATE TRIGGER guard_{column} BEFORE INSERT OR UPDATE OF {column} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION tunegate_guard_account('{column}')"
        )


def downgrade() -> None:
    for table, column in GUARDED:
        op.execute(f"DROP TRIGGER guard_{column} ON {table}")
    op.execute("DROP FUNCTION tunegate_guard_account()")
    op.execute(f"DROP POLICY shared ON {TABLE}")
    op.execute(f"DROP POLICY scope ON {TABLE}")
    op.execute(f"ALTER TABLE {TABLE} NO FORCE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {TABLE} DISABLE ROW LEVEL SECURITY")
    op.drop_column("jobs", "requested_account_id")
    op.drop_index("uq_upstream_accounts_shared_name", TABLE)
    op.drop_index("uq_upstream_accounts_own_name", TABLE)
    op.drop_constraint(op.f("ck_upstream_accounts_deleted_forgets"), TABLE)
    op.drop_constraint(op.f("ck_upstream_accounts_kind"), TABLE)
    for column in reversed(_columns()):
        op.drop_column(TABLE, column.name)
