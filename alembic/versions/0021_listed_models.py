"""The base models that a self-hosted upstream lists, and when it did.

Revision: 0021, after 0020
"""

import sqlalchemy as sa

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("upstream_accounts", sa.Column("listed_models", sa.ARRAY(sa.Text()), nullable=True))
    op.add_column("upstream_accounts", sa.Column("models_listed_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("upstream_accounts", "models_listed_at")
    op.drop_column("upstream_accounts", "listed_models")
