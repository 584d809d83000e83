"""Prices and metering of inference, spend limits of the organisation, spend alerts.

Revision: 0008, after 0007
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TENANT_TABLES = ("open_inferences", "spend_alerts")
SHARED_TABLES = (
    "inference_price_overrides",
    "organization_spending",
    "organization_balances",
    "organization_spend_alerts",
)
"""They belong to no project, so there is no row-level security."""

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
    op.add_column("jobs", sa.Column("api_key_id", sa.Text(), nullable=True))
    for name, kind in (
        ("api_key_id", sa.Text()),
        ("model", sa.Text()),
        ("input_tokens", sa.BigInteger()),
        ("output_tokens", sa.BigInteger()),
        ("basis", sa.Text()),
    ):
        op.add_column("ledger_entries", sa.Column(name, kind, nullable=True))
    op.create_check_constraint(
        op.f("ck_ledger_entries_basis"), "ledger_entries", "basis IN ('usage', 'estimate', 'reservation')"
    )
    op.create_check_constraint(
        op.f("ck_ledger_entries_tokens"), "ledger_entries", "input_tokens >= 0 AND output_tokens >= 0"
    )
    op.create_index(
        "ix_ledger_entries_posted", "ledger_entries", ["created_at"], postgresql_where=sa.text("kind = 'post'")
    )
    op.create_table(
        "inference_price_overrides",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("tuned", sa.Boolean(), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("input_micros_per_million", sa.BigInteger(), nullable=False),
        sa.Column("output_micros_per_million", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "input_micros_per_million >= 0 AND output_micros_per_million >= 0",
            name=op.f("ck_inference_price_overrides_price"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inference_price_overrides")),
        sa.UniqueConstraint("model", "tuned", "since", name=op.f("uq_inference_price_overrides_model_tuned_since")),
    )
    op.create_table(
        "organization_spending",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kept", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("spend_limit_micros", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_organization_spending_single")),
        sa.CheckConstraint("spend_limit_micros >= 0", name=op.f("ck_organization_spending_spend_limit")),
        sa.CheckConstraint("kept OR spend_limit_micros IS NULL", name=op.f("ck_organization_spending_kept")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organization_spending")),
    )
    op.execute("INSERT INTO organization_spending (id) VALUES (1)")
    op.create_table(
        "organization_balances",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("reserved_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("overage_micros", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint(
            "reserved_micros >= 0 AND spent_micros >= 0 AND overage_micros >= 0",
            name=op.f("ck_organization_balances_amounts"),
        ),
        sa.PrimaryKeyConstraint("month", name=op.f("pk_organization_balances")),
    )
    op.create_table(
        "open_inferences",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("input_tokens >= 0 AND output_tokens >= 0", name=op.f("ck_open_inferences_tokens")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_open_inferences_project_id")),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_open_inferences")),
    )
    op.create_index("ix_open_inferences_expires", "open_inferences", ["expires_at"])
    op.create_table(
        "spend_alerts",
        sa.Column("project_id", sa.Text(), nullable=False),
        *_alert_columns(),
        sa.CheckConstraint("threshold_micros >= 0", name=op.f("ck_spend_alerts_threshold")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_spend_alerts_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spend_alerts")),
    )
    op.create_index("ix_spend_alerts_project", "spend_alerts", ["project_id", "id"])
    op.create_table(
        "organization_spend_alerts",
        *_alert_columns(),
        sa.CheckConstraint("threshold_micros >= 0", name=op.f("ck_organization_spend_alerts_threshold")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organization_spend_alerts")),
    )
    for table in (*TENANT_TABLES, *SHARED_TABLES):
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO tunegate_service")
    for table in TENANT_TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(SCOPE_POLICY.format(table=table))


def downgrade() -> None:
    for table in (*TENANT_TABLES, *SHARED_TABLES):
        op.drop_table(table)
    op.drop_index("ix_ledger_entries_posted", table_name="ledger_entries")
    for name in ("tokens", "basis"):
        op.drop_constraint(op.f(f"ck_ledger_entries_{name}"), "ledger_entries", type_="check")
    for name in ("basis", "output_tokens", "input_tokens", "model", "api_key_id"):
        op.drop_column("ledger_entries", name)
    op.drop_column("jobs", "api_key_id")


def _alert_columns() -> list[sa.Column]:
    return [
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("threshold_micros", sa.BigInteger(), nullable=False),
        sa.Column("recipients", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("subject_prefix", sa.Text(), nullable=True),
        sa.Column(
            "told", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), server_default="{}", nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    ]
