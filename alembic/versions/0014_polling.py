"""Polling by lists: a watch for each upstream account, what jobs remember of it, and inbound webhooks.

Revision: 0014, after 0013
"""

import sqlalchemy as sa

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

MOMENTS = ("looked_at", "watched_at", "news_at", "stalled_at")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("upstream_told", sa.Text(), nullable=True))
    for name in MOMENTS:
        op.add_column("jobs", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.add_column("upstream_accounts", sa.Column("polls_per_minute", sa.BigInteger(), nullable=True))
    op.add_column("upstream_accounts", sa.Column("webhook_secret_sealed", sa.LargeBinary(), nullable=True))
    op.create_check_constraint(op.f("ck_upstream_accounts_polls"), "upstream_accounts", "polls_per_minute > 0")
    op.create_table(
        "upstream_watches",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("spent_until", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("listing", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("active", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("watched", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["id"], ["upstream_accounts.id"], name=op.f("fk_upstream_watches_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upstream_watches")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON upstream_watches TO tunegate_service")
    op.create_table(
        "upstream_notices",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["upstream_accounts.id"], name=op.f("fk_upstream_notices_account_id")),
        sa.PrimaryKeyConstraint("account_id", "webhook_id", name=op.f("pk_upstream_notices")),
    )
    op.create_index("ix_upstream_notices_received", "upstream_notices", ["received_at"])
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON upstream_notices TO tunegate_service")


def downgrade() -> None:
    op.drop_table("upstream_notices")
    op.drop_table("upstream_watches")
    op.drop_constraint(op.f("ck_upstream_accounts_polls"), "upstream_accounts")
    op.drop_column("upstream_accounts", "webhook_secret_sealed")
    op.drop_column("upstream_accounts", "polls_per_minute")
    for name in (*MOMENTS, "upstream_told"):
        op.drop_column("jobs", name)
