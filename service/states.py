"""The closed sets of values that columns may hold. Pure: tables, rules and responses take them from here.

A CHECK constraint in the database holds each set; a column is declared with the set's type, so that no value that comes
from the database needs a cast.
"""

from typing import Literal

State = Literal[
    # Entered when a caller creates the job (service/jobs/actions.py). Left by workers/jobs/validate.py: to `waiting`
    # once the files' reports are ready and the money is reserved, to `failed` if a file or the budget rules the job
    # out, to `cancelled` on request.
    "validating",
    # Entered from `validating`. Left by a scheduling pass (workers/jobs/schedule.py) to `uploading`, once the job gets
    # one of an account's slots, and by workers/jobs/wait.py to `cancelled` on request.
    "waiting",
    # Entered from `waiting`, and from `creating` when a file of the job has vanished upstream. Left by
    # workers/jobs/upload.py: to `creating` once the upstream has both files, to `failed` if it refuses one, to
    # `cancelled` on request.
    "uploading",
    # Entered from `uploading`. Left by workers/jobs/create.py: to `running` once the id of the upstream's job is known,
    # back to `uploading` if a file has vanished upstream, to `failed` if the upstream refuses the job, to `cancelled`
    # on request while no upstream job exists.
    "creating",
    # Entered from `creating`. Left by workers/jobs/poll.py to `settling`, once a poll or a list shows that the
    # upstream's job has ended, or it is lost.
    # A caller's cancel is sent upstream, and the job ends as the upstream says.
    "running",
    # Entered from `running`. Left by workers/jobs/settle.py to the state in which the upstream's job ended, in one
    # transaction with the ledger's entries, the model's name and the result files.
    "settling",
    # Entered from `settling`: the model has a name and the cost is posted. Final.
    "succeeded",
    # Entered from every state but `running`; the job's error says why. Also by workers/jobs/advance.py, when a step of
    # a job that does not exist upstream yet has crashed too often. Final.
    "failed",
    # Entered from every state but `running`, after a caller's cancel or one at the upstream. Final.
    "cancelled",
]

EndState = Literal["succeeded", "failed", "cancelled"]
ENDED: tuple[EndState, ...] = ("succeeded", "failed", "cancelled")
"""States that are final."""

ACTIVE: tuple[State, ...] = ("uploading", "creating", "running", "settling")
"""States in which a job occupies one of the upstream account's slots."""

QUEUED: tuple[State, ...] = ("validating", "waiting")
"""States in which a job counts towards its project's limit of queued jobs."""

CreatePhase = Literal[
    # No create request is under way: none was sent, or the last one certainly created nothing. Set by
    # workers/jobs/create.py after a refusal, or after an unknown outcome that turned out to have created nothing.
    "idle",
    # The intent to send is committed, and the outcome of the request is not known. Set by workers/jobs/create.py.
    "intent",
    # The upstream's job is recorded in `upstream_job_id`. Set with the transition to `running`; final.
    "created",
]

DeployStatus = Literal[
    # The model is being compared. Set by workers/jobs/settle.py; left by workers/maintenance/deployments.py.
    "comparing",
    # The alias has the model. Set by workers/jobs/settle.py or workers/maintenance/deployments.py; final.
    "deployed",
    # The comparison did not pass, or the alias could not take the model. Set by the same two; final.
    "refused",
]

EventLevel = Literal["info", "warn", "error"]
EventType = Literal["message", "metrics"]

ModelKind = Literal["model", "checkpoint"]

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

RunKind = Literal["generation", "comparison"]

RunStatus = Literal["pending", "running", "succeeded", "failed", "cancelled"]
"""The API creates a run as `pending` and may cancel it; a worker moves it to `running`, `succeeded` or `failed`."""

UNFINISHED_RUNS: tuple[RunStatus, ...] = ("pending", "running")

RunEventLevel = Literal["info", "warn", "error"]
RunEventType = Literal["message", "progress"]

ExperimentStatus = Literal["pending", "running", "comparing", "succeeded", "failed", "cancelled"]
"""The API creates an experiment as `pending` and may request its cancel; a worker makes every other change."""

PromotionStatus = Literal["promoted", "refused"]
"""Of an experiment's `promote`, once its arms and its comparison have ended."""

AliasAction = Literal["created", "promoted", "rolled_back", "deployed"]
"""How an alias came to point at a model: a job's deployment is `deployed`, callers do the others."""
