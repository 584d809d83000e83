"""Indexes for lists with a filter, which otherwise read all rows of a project until they find a match.

Revision: 0018, after 0017
"""

import sqlalchemy as sa

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_dataset_preparations_input", "dataset_preparations", ["input_file_id"])
    op.create_index(
        "ix_dataset_preparations_training",
        "dataset_preparations",
        ["training_file_id"],
        postgresql_where=sa.text("training_file_id IS NOT NULL"),
    )
    op.create_index(
        "ix_dataset_preparations_validation",
        "dataset_preparations",
        ["validation_file_id"],
        postgresql_where=sa.text("validation_file_id IS NOT NULL"),
    )
    op.create_index(
        "ix_files_purpose",
        "files",
        ["project_id", "purpose", "id"],
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index("ix_webhook_deliveries_status", "webhook_deliveries", ["endpoint_id", "status", "id"])
    op.create_index("ix_webhook_events_type", "webhook_events", ["project_id", "type", "position"])


def downgrade() -> None:
    op.drop_index("ix_webhook_events_type", table_name="webhook_events")
    op.drop_index("ix_webhook_deliveries_status", table_name="webhook_deliveries")
    op.drop_index("ix_files_purpose", table_name="files", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_index(
        "ix_dataset_preparations_validation",
        table_name="dataset_preparations",
        postgresql_where=sa.text("validation_file_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_dataset_preparations_training",
        table_name="dataset_preparations",
        postgresql_where=sa.text("training_file_id IS NOT NULL"),
    )
    op.drop_index("ix_dataset_preparations_input", table_name="dataset_preparations")
