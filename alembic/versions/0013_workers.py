"""Heartbeats of workers, for `/readyz`.

Revision: 0013, after 0012
"""

import sqlalchemy as sa

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "worker_heartbeats",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker_heartbeats")),
    )
    op.create_index("ix_worker_heartbeats_beat", "worker_heartbeats", ["beat_at"])
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON worker_heartbeats TO tunegate_service")


def downgrade() -> None:
    op.drop_table("worker_heartbeats")
