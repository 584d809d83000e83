"""The closed sets of states that rows can be in. Pure: tables, rules and answers all name them from here."""

from typing import Literal

State = Literal[
    "validating", "waiting", "uploading", "creating", "running", "settling", "succeeded", "failed", "cancelled"
]

ENDED: tuple[State, ...] = ("succeeded", "failed", "cancelled")
ACTIVE: tuple[State, ...] = ("uploading", "creating", "running", "settling")
"""States that hold one of the upstream account's slots."""

QUEUED: tuple[State, ...] = ("validating", "waiting")

ProjectStatus = Literal["active", "archived", "deleting", "deleted"]
ServiceAccountRole = Literal["owner", "member", "none"]
KeyKind = Literal["project", "admin"]

AuditActorKind = Literal["api_key", "session", "system"]
"""`session` is a caller without a valid key, `system` the service itself or an operator at the command line."""

RefusalKind = Literal[
    "unknown_key", "revoked_key", "expired_key", "archived_project", "wrong_kind_of_key", "read_only_key", "no_role"
]

LedgerEntryKind = Literal["reserve", "post", "void"]

PostingBasis = Literal["usage", "estimate", "reservation"]
"""How the cost of an inference call is known: from the upstream's usage, from an estimate, or from its reservation."""

FilePurpose = Literal[
    "assistants", "assistants_output", "batch", "batch_output", "fine-tune", "fine-tune-results", "vision", "user_data"
]
"""What a file is for, as the SDK's `FileObject` has it."""

FileStatus = Literal["uploaded", "processed", "error"]
"""`uploaded` while the report is being made; the worker that records the report sets one of the others."""

UploadStatus = Literal["pending", "completed", "cancelled", "expired"]
"""`pending` until a caller completes or cancels the upload, or the storage clean-up expires it."""

ReportStatus = Literal["pending", "ready"]
"""Of file reports and of leakage reports: `pending` until a worker has recorded the result."""

PreparationStatus = Literal["pending", "running", "succeeded", "failed", "cancelled"]
"""`pending` until a worker's first attempt begins; a caller cancels, the worker records the other two outcomes."""

UpstreamKind = Literal["openai", "azure"]
UpstreamProvider = Literal["openai", "azure", "self-hosted"]
UploadPhase = Literal["idle", "intent", "uploaded"]
"""Of an upstream file: nothing was sent, an upload began and has no known outcome, or the file has an upstream id."""

DeliveryStatus = Literal["pending", "succeeded", "failed"]

DeletionKind = Literal["file", "upstream_file", "upstream_model", "project"]
DeletionStatus = Literal["pending", "done", "failed"]
"""`failed`: a worker gave up after the last attempt, until an operator retries it (`tunegate deletions`)."""
