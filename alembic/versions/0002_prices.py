"""Prices that the platform team sets, and how estimates came out.

Revision: 0002, after 0001
"""

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("price_overrides", "model_calibrations")
"""They belong to no project, so there is no row-level security."""


def upgrade() -> None:
    op.create_table(
        "price_overrides",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("micros_per_million", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("micros_per_million >= 0", name=op.f("ck_price_overrides_price")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_overrides")),
        sa.UniqueConstraint("model", "since", name=op.f("uq_price_overrides_model_since")),
    )
    op.create_table(
        "model_calibrations",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("estimated_tokens", sa.BigInteger(), nullable=False),
        sa.Column("actual_tokens", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "jobs > 0 AND estimated_tokens >= 0 AND actual_tokens >= 0", name=op.f("ck_model_calibrations_sums")
        ),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_model_calibrations")),
    )
    for table in TABLES:
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO tunegate_service")


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
