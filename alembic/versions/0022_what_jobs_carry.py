"""What a job carries for its reader: losses, speed, duration, warnings, verdict; and indexes for lists by them.

Jobs that ended before have no such figures: their rows are not rewritten while the table is locked.

Revision: 0022, after 0021
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

COLUMNS: tuple[tuple[str, type[sa.types.TypeEngine[object]]], ...] = (
    ("train_loss", sa.Double),
    ("train_loss_step", sa.BigInteger),
    ("best_train_loss", sa.Double),
    ("best_train_loss_step", sa.BigInteger),
    ("valid_loss", sa.Double),
    ("valid_loss_step", sa.BigInteger),
    ("best_valid_loss", sa.Double),
    ("best_valid_loss_step", sa.BigInteger),
    ("tokens_per_second", sa.Double),
    ("duration_seconds", sa.Double),
    ("warnings", postgresql.JSONB),
    ("verdict", postgresql.JSONB),
)

INDEXED = (
    "cost_micros",
    "expected_micros",
    "duration_seconds",
    "train_loss",
    "valid_loss",
    "best_valid_loss",
    "tokens_per_second",
    "trained_tokens",
    "state",
    "model",
    "api_key_id",
)


def upgrade() -> None:
    for name, kind in COLUMNS:
        op.add_column("jobs", sa.Column(name, kind(), nullable=True))
    op.add_column("jobs", sa.Column("valid_loss_is_full", sa.Boolean(), server_default="false", nullable=False))
    for name in INDEXED:
        op.create_index(
            f"ix_jobs_ended_{name}",
            "jobs",
            ["project_id", name, "id"],
            postgresql_where=sa.text("finished_at IS NOT NULL"),
        )


def downgrade() -> None:
    for name in reversed(INDEXED):
        op.drop_index(f"ix_jobs_ended_{name}", table_name="jobs")
    op.drop_column("jobs", "valid_loss_is_full")
    for name, _ in reversed(COLUMNS):
        op.drop_column("jobs", name)
