"""Queries cost as much in a large project, and beside one, as in a small one.

Under row-level security Postgres uses an index only for operators that cannot leak a row's values (`LEAKPROOF`). `@>`
is not one of them, so `ix_jobs_metadata` never served a project's list. Equality is one, so each pair of a job's
metadata gets a row with its SHA-256, with a NUL between key and value, which neither can contain. Triggers maintain
the rows, also for writes of the earlier version.

An order by `id` or `due_at` can come from the index on that column alone, which has the rows of all projects. Postgres
prefers it where few projects share the table, and then one project's query reads the rows of another. The indexes of a
project therefore have an order of their own (`NULLS LAST`, `NULLS FIRST`), which the queries ask for.

Revision: 0019, after 0018
"""

import sqlalchemy as sa

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TABLE = "job_metadata_pairs"

SCOPE_POLICY = f"""
    CREATE POLICY scope ON {TABLE} USING (
        CASE current_setting('tunegate.scope', true)
            WHEN 'project' THEN project_id = NULLIF(current_setting('tunegate.project', true), '')
            WHEN 'worker' THEN true
            WHEN 'admin' THEN true
            ELSE false
        END
    )
"""

PAIRS = """
    CREATE FUNCTION tunegate_metadata_pairs(metadata jsonb) RETURNS SETOF bytea LANGUAGE sql IMMUTABLE AS $$
        SELECT sha256(convert_to(key, 'UTF8') || '\\x00'::bytea || convert_to(value, 'UTF8'))
        FROM jsonb_each_text(metadata)
    $$
"""

MAINTAIN = """
    CREATE FUNCTION tunegate_maintain_metadata_pairs() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'UPDATE' AND OLD.metadata IS NOT NULL THEN
            DELETE FROM job_metadata_pairs WHERE project_id = OLD.project_id AND job_id = OLD.id
                AND pair IN (SELECT tunegate_metadata_pairs(OLD.metadata));
        END IF;
        IF NEW.metadata IS NOT NULL THEN
            INSERT INTO job_metadata_pairs (project_id, pair, job_id)
            SELECT NEW.project_id, tunegate_metadata_pairs(NEW.metadata), NEW.id;
        END IF;
        RETURN NULL;
    END
    $$
"""

TRIGGERS = (
    """
    CREATE TRIGGER metadata_pairs_of_new AFTER INSERT ON jobs FOR EACH ROW WHEN (NEW.metadata IS NOT NULL)
    EXECUTE FUNCTION tunegate_maintain_metadata_pairs()
    """,
    """
    CREATE TRIGGER metadata_pairs_of_changed AFTER UPDATE OF metadata ON jobs FOR EACH ROW
    WHEN (OLD.metadata IS DISTINCT FROM NEW.metadata) EXECUTE FUNCTION tunegate_maintain_metadata_pairs()
    """,
)

BACKFILL = """
    INSERT INTO job_metadata_pairs (project_id, pair, job_id)
    SELECT project_id, tunegate_metadata_pairs(metadata), id FROM jobs WHERE metadata IS NOT NULL
"""


ORDERED: dict[str, tuple[str, list[str], str, str]] = {
    "ix_jobs_project": ("jobs", ["project_id"], "id", "DESC NULLS LAST"),
    "ix_runs_project": ("runs", ["project_id", "kind"], "id", "DESC NULLS LAST"),
    "ix_dataset_preparations_project": ("dataset_preparations", ["project_id"], "id", "DESC NULLS LAST"),
    "ix_files_purpose": ("files", ["project_id", "purpose"], "id", "DESC NULLS LAST"),
    "ix_webhook_deliveries_endpoint": ("webhook_deliveries", ["endpoint_id"], "id", "DESC NULLS LAST"),
    "ix_webhook_deliveries_status": ("webhook_deliveries", ["endpoint_id", "status"], "id", "DESC NULLS LAST"),
    **{
        f"ix_{table}_project_due": (table, ["project_id"], "due_at", "NULLS FIRST")
        for table in (
            "deployments",
            "jobs",
            "file_reports",
            "leakage_reports",
            "dataset_preparations",
            "runs",
            "deletions",
        )
    },
}
"""By name: an index's table, its first columns, and its last one with the order that is its own."""


def _replace_ordered(*, own_order: bool) -> None:
    for name, (table, columns, last, order) in ORDERED.items():
        op.drop_index(name, table)
        ordered = sa.text(f"{last} {order}") if own_order else last
        where = {"due_at": "due_at IS NOT NULL"}.get(last) or {"files": "deleted_at IS NULL"}.get(table)
        op.create_index(name, table, [*columns, ordered], postgresql_where=None if where is None else sa.text(where))


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("pair", sa.LargeBinary(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id", "job_id"], ["jobs.project_id", "jobs.id"], name=op.f("fk_job_metadata_pairs_project_id_id")
        ),
        sa.PrimaryKeyConstraint("project_id", "pair", "job_id", name=op.f("pk_job_metadata_pairs")),
    )
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO tunegate_service")
    op.execute(PAIRS)
    op.execute(MAINTAIN)
    for trigger in TRIGGERS:
        op.execute(trigger)
    op.execute("SELECT set_config('tunegate.scope', 'admin', true)")  # the owner, too, sees rows in a scope only
    op.execute(BACKFILL)
    op.execute(f"ALTER TABLE {TABLE} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {TABLE} FORCE ROW LEVEL SECURITY")
    op.execute(SCOPE_POLICY)
    op.drop_index("ix_jobs_metadata", "jobs", postgresql_using="gin")
    op.create_index(
        "ix_jobs_unfinished", "jobs", ["project_id", "state"], postgresql_where=sa.text("finished_at IS NULL")
    )
    op.create_index(
        "ix_jobs_without_metadata",
        "jobs",
        ["project_id", sa.text("id DESC NULLS LAST")],
        postgresql_where=sa.text("metadata IS NULL"),
    )
    _replace_ordered(own_order=True)


def downgrade() -> None:
    _replace_ordered(own_order=False)
    op.drop_index("ix_jobs_without_metadata", "jobs")
    op.drop_index("ix_jobs_unfinished", "jobs")
    op.create_index("ix_jobs_metadata", "jobs", ["metadata"], postgresql_using="gin")
    op.execute("DROP TRIGGER metadata_pairs_of_changed ON jobs")
    op.execute("DROP TRIGGER metadata_pairs_of_new ON jobs")
    op.drop_table(TABLE)
    op.execute("DROP FUNCTION tunegate_maintain_metadata_pairs()")
    op.execute("DROP FUNCTION tunegate_metadata_pairs(jsonb)")
