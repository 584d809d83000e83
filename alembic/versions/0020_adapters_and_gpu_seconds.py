"""A job's adapter, and training that is priced by the GPU-second.

Revision: 0020, after 0019
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

COLUMNS: tuple[tuple[str, str, type[sa.types.TypeEngine[object]]], ...] = (
    ("jobs", "adapter", postgresql.JSONB),
    ("jobs", "price_micros_per_gpu_second", sa.BigInteger),
    ("jobs", "gpu_estimate", postgresql.JSONB),
    ("jobs", "budget_micros", sa.BigInteger),
    ("jobs", "upstream_queue_place", sa.BigInteger),
    ("jobs", "gpu_seconds", sa.Double),
    ("ledger_entries", "gpu_seconds", sa.Double),
    ("quotes", "price_micros_per_gpu_second", sa.BigInteger),
    ("quotes", "gpu_estimate", postgresql.JSONB),
)

CHECKS = (
    ("jobs", "gpu_seconds", "gpu_seconds >= 0 AND gpu_seconds < 'Infinity'"),
    ("jobs", "budget", "budget_micros > 0"),
    ("ledger_entries", "gpu_seconds", "gpu_seconds >= 0 AND gpu_seconds < 'Infinity'"),
)


def upgrade() -> None:
    op.create_table(
        "training_speeds",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("method_type", sa.Text(), nullable=False),
        sa.Column("adapter_type", sa.Text(), nullable=False),
        sa.Column("trained_tokens", sa.BigInteger(), nullable=False),
        sa.Column("gpu_seconds", sa.Double(), nullable=False),
        sa.Column("estimated_low", sa.Double(), nullable=True),
        sa.Column("estimated_gpu_seconds", sa.Double(), nullable=True),
        sa.Column("estimated_high", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("adapter_type IN ('lora', 'full')", name=op.f("ck_training_speeds_adapter_type")),
        sa.CheckConstraint(
            "trained_tokens > 0 AND gpu_seconds > 0 AND gpu_seconds < 'Infinity'",
            name=op.f("ck_training_speeds_measured"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["upstream_accounts.id"], name=op.f("fk_training_speeds_account_id")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_training_speeds")),
    )
    op.create_index(
        "ix_training_speeds_kind",
        "training_speeds",
        ["model", "account_id", "method_type", "adapter_type", "finished_at"],
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON training_speeds TO tunegate_service")
    for table, name, kind in COLUMNS:
        op.add_column(table, sa.Column(name, kind(), nullable=True))
    for table, name, condition in CHECKS:
        op.create_check_constraint(op.f(f"ck_{table}_{name}"), table, condition)


def downgrade() -> None:
    for table, name, _ in reversed(COLUMNS):
        op.drop_column(table, name)
    op.drop_table("training_speeds")
