"""The whole schema. Every invariant that SQL can enforce is a constraint here; the migrations create it.

Tenant tables have `project_id` and refer to each other by (project_id, id), because foreign keys are checked without
row-level security. Tables of leased work derive from `Leased`: when a row is due, and its lease (`database/leases.py`).
Amounts are micro-dollars; times are `timestamptz` from the database's clock.
"""

from service.database.tables.aliases import AliasPromotion, ModelAlias
from service.database.tables.audit import AuditLog, Refusal
from service.database.tables.base import Base, Leased
from service.database.tables.billing import (
    Balance,
    InferencePriceOverride,
    LedgerEntry,
    ModelCalibration,
    OpenInference,
    OrganizationBalance,
    OrganizationSpendAlert,
    OrganizationSpending,
    PriceOverride,
    SpendAlert,
    TrainingSpeed,
)
from service.database.tables.comparisons import ComparisonCase
from service.database.tables.datasets import (
    DatasetPreparation,
    File,
    FileReport,
    LeakageReport,
    PendingUpload,
    Upload,
    UploadPart,
)
from service.database.tables.deletions import Deletion
from service.database.tables.experiments import Experiment, ExperimentArm
from service.database.tables.identity import ApiKey, CheckpointPermission, Gateway, Project, ServiceAccount
from service.database.tables.jobs import (
    Checkpoint,
    Deployment,
    Job,
    JobEvent,
    JobMetadataPair,
    JobMetric,
    JobState,
    Model,
    Quote,
)
from service.database.tables.limits import ProjectLimits, RateLimit, SchedulingPass, TrainingTokens
from service.database.tables.requests import RememberedRequest
from service.database.tables.runs import Run, RunCall, RunEvent
from service.database.tables.upstreams import AccountPoll, UpstreamAccount, UpstreamCall, UpstreamFile, UpstreamWebhook
from service.database.tables.webhooks import (
    RetirementNotice,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from service.database.tables.workers import WorkerHeartbeat

TENANT_TABLES = tuple(
    table.name for table in Base.metadata.sorted_tables if "project_id" in table.columns or table.name == "projects"
)
"""Every table that row-level security protects; a test compares this with the policies in the database."""

__all__ = [
    "TENANT_TABLES",
    "AccountPoll",
    "AliasPromotion",
    "ApiKey",
    "AuditLog",
    "Balance",
    "Base",
    "Checkpoint",
    "CheckpointPermission",
    "ComparisonCase",
    "DatasetPreparation",
    "Deletion",
    "Deployment",
    "Experiment",
    "ExperimentArm",
    "File",
    "FileReport",
    "Gateway",
    "InferencePriceOverride",
    "Job",
    "JobEvent",
    "JobMetadataPair",
    "JobMetric",
    "JobState",
    "LeakageReport",
    "Leased",
    "LedgerEntry",
    "Model",
    "ModelAlias",
    "ModelCalibration",
    "OpenInference",
    "OrganizationBalance",
    "OrganizationSpendAlert",
    "OrganizationSpending",
    "PendingUpload",
    "PriceOverride",
    "Project",
    "ProjectLimits",
    "Quote",
    "RateLimit",
    "Refusal",
    "RememberedRequest",
    "RetirementNotice",
    "Run",
    "RunCall",
    "RunEvent",
    "SchedulingPass",
    "ServiceAccount",
    "SpendAlert",
    "TrainingSpeed",
    "TrainingTokens",
    "Upload",
    "UploadPart",
    "UpstreamAccount",
    "UpstreamCall",
    "UpstreamFile",
    "UpstreamWebhook",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
    "WorkerHeartbeat",
]
