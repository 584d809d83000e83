"""What is retained of a deleted project: its identity, its costs and its audit log (docs/deleting.md). Nothing else.

Every table with a `project_id` is emptied unless it is listed in `RETAINED`, so new tables are emptied by default. Of
rows that the ledger and upstream jobs refer to, only figures and ids remain; everything a caller wrote is redacted.
"""

from typing import Any

from sqlalchemy import Table, and_, case, func, literal, select

from service.database.tables import (
    TENANT_TABLES,
    AuditLog,
    Balance,
    Base,
    Deletion,
    File,
    Job,
    LedgerEntry,
    Project,
    TrainingTokens,
    UpstreamAccount,
    UpstreamCall,
)

DELETED = "deleted"
"""Replaces a text that was redacted."""

RETAINED: dict[str, str] = {
    Project.__tablename__: "its id, name, times and status",
    Balance.__tablename__: "what it spent in each month",
    LedgerEntry.__tablename__: "every entry of the ledger",
    TrainingTokens.__tablename__: "how many tokens its jobs trained",
    Job.__tablename__: "one row a job: model, times, tokens, cost, outcome, the upstream job's id",
    File.__tablename__: "one row for each file that a job names: purpose, size, times",
    UpstreamCall.__tablename__: "the ids of its upstream jobs, so that an orphaned one is found and cancelled",
    UpstreamAccount.__tablename__: "one row for each upstream account of its own, without address and credential",
    Deletion.__tablename__: "what was deleted when, by id",
    AuditLog.__tablename__: "the audit log",
}
"""The tables of which rows are retained, and what they contain."""

BY_CASCADE = frozenset({"alias_promotions"})
"""Append-only for the service; their rows are deleted with their parents'."""


def emptied_tables() -> list[Table]:
    """Every other tenant table, in the order to empty them: referring tables first."""
    return [
        table
        for table in reversed(Base.metadata.sorted_tables)
        if table.name in TENANT_TABLES and table.name not in RETAINED and table.name not in BY_CASCADE
    ]


def referenced_by_jobs() -> Any:
    """The condition for a file that a job refers to, whose row is therefore retained."""
    reference = and_(
        Job.project_id == File.project_id, (Job.training_file_id == File.id) | (Job.validation_file_id == File.id)
    )
    return select(literal(1)).where(reference).exists()


REDACTED_JOB: dict[str, Any] = {
    "model": case((Job.model.startswith("ft:"), func.split_part(Job.model, ":", 2)), else_=Job.model),
    "suffix": None,
    "caller_metadata": None,
    "integrations": None,
    "method": func.jsonb_build_object("type", Job.method["type"]),
    "adapter": None,
    "quote_id": None,
    "deploy_alias": None,
    "deploy_status": None,
    "deploy_detail": None,
    "deploy_comparison": None,
    "deploy_run_id": None,
    "experiment_id": None,
    "experiment_arm": None,
    "upstream_model": None,
    "upstream_events_cursor": None,
    "upstream_snapshot": None,
    "waiting_reason": None,
    "train_loss": None,
    "train_loss_step": None,
    "best_train_loss": None,
    "best_train_loss_step": None,
    "valid_loss": None,
    "valid_loss_step": None,
    "best_valid_loss": None,
    "best_valid_loss_step": None,
    "warnings": None,
    "verdict": None,
    "fine_tuned_model": case((Job.fine_tuned_model.is_not(None), DELETED)),
    "result_file_ids": [],
    "error_message": None,
    "error_param": None,
}

REDACTED_FILE: dict[str, Any] = {
    "filename": DELETED,
    "sha256": DELETED,
    "status_details": None,
    "deleted_at": func.coalesce(File.deleted_at, func.now()),
    "content_deleted_at": func.coalesce(File.content_deleted_at, func.now()),
}

REDACTED_ACCOUNT: dict[str, Any] = {
    "name": None,
    "base_url": DELETED,
    "credential_sealed": None,
    "webhook_secret_sealed": None,
    "deployments": None,
    "models": None,
}
