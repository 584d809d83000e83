"""The request and response structs of fine-tuning jobs, as the OpenAI SDK's types have them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from service.billing.prices import Amount
from service.http.wire_types import Page, PageQuery, RequestModel
from service.jobs.adapter_settings import AdapterSettings, AdapterType
from service.jobs.curves.verdict import Verdict
from service.jobs.deployment import Deploy
from service.jobs.lifecycle import Status
from service.jobs.summary import CreatedBy, ExperimentArm, JobWarning, MetricsSummary, QueueObject
from service.runs.budget import Budget

Auto = Literal["auto"]
Epochs = Annotated[int, msgspec.Meta(ge=1, le=50)]
BatchSize = Annotated[int, msgspec.Meta(ge=1, le=256)]
RateMultiplier = Annotated[float, msgspec.Meta(gt=0, le=10_000)]
Beta = Annotated[float, msgspec.Meta(gt=0, le=2)]
ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Hyperparameters(RequestModel, frozen=True, kw_only=True):
    """Hyperparameters of a supervised job."""

    n_epochs: Auto | Epochs = "auto"
    batch_size: Auto | BatchSize = "auto"
    learning_rate_multiplier: Auto | RateMultiplier = "auto"


class DpoHyperparameters(Hyperparameters, frozen=True, kw_only=True):
    """Hyperparameters of a preference (DPO) job."""

    beta: Auto | Beta = "auto"


class ReinforcementHyperparameters(Hyperparameters, frozen=True, kw_only=True):
    """Hyperparameters of a reinforcement job."""

    compute_multiplier: Auto | RateMultiplier = "auto"
    eval_interval: Auto | Annotated[int, msgspec.Meta(ge=1)] = "auto"
    eval_samples: Auto | Annotated[int, msgspec.Meta(ge=1)] = "auto"
    reasoning_effort: Literal["default", "low", "medium", "high"] = "default"


class Supervised(RequestModel, frozen=True, kw_only=True):
    """`method.supervised`."""

    hyperparameters: Hyperparameters = Hyperparameters()


class Dpo(RequestModel, frozen=True, kw_only=True):
    """`method.dpo`."""

    hyperparameters: DpoHyperparameters = DpoHyperparameters()


class Reinforcement(RequestModel, frozen=True, kw_only=True):
    """`method.reinforcement`; the grader is sent upstream unchanged."""

    grader: dict[str, Any]
    hyperparameters: ReinforcementHyperparameters = ReinforcementHyperparameters()


class Method(RequestModel, frozen=True, kw_only=True):
    """The training method: its type, and the parameters of that type."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: Dpo | None = None
    reinforcement: Reinforcement | None = None


class Wandb(RequestModel, frozen=True, kw_only=True):
    """`integrations[].wandb`."""

    project: ShortText
    name: ShortText | None = None
    entity: ShortText | None = None
    tags: Annotated[list[ShortText], msgspec.Meta(max_length=50)] = msgspec.field(default_factory=list)


class Integration(RequestModel, frozen=True, kw_only=True):
    """An integration that the upstream reports to."""

    type: Literal["wandb"]
    wandb: Wandb


class CreateJob(RequestModel, frozen=True, kw_only=True):
    """The body of a job's create.

    `adapter`, `budget`, `quote_id`, `upstream_account`, `priority` and `deploy` extend OpenAI's. `budget` is in
    dollars, for models billed by the GPU-second: it is reserved, and the job is cancelled when it has cost as much.
    """

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)] | None = None
    metadata: dict[str, str] | None = None
    integrations: Annotated[list[Integration], msgspec.Meta(max_length=5)] | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    adapter: AdapterSettings | None = None
    budget: Budget | None = None
    quote_id: str | None = None
    upstream_account: str | None = None
    priority: Annotated[int, msgspec.Meta(ge=-100, le=100)] = 0
    deploy: Deploy | None = None


class JobErrorObject(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job failed."""

    code: str
    message: str
    param: str | None


class HyperparametersObject(msgspec.Struct, frozen=True, kw_only=True):
    """The hyperparameters of a supervised job; `auto` until the value is resolved."""

    n_epochs: int | Auto
    batch_size: int | Auto
    learning_rate_multiplier: float | Auto


class AdapterObject(msgspec.Struct, frozen=True, kw_only=True):
    """The `adapter` of a job's create; null for what the upstream chooses."""

    type: AdapterType
    rank: int | None
    alpha: float | None
    dropout: float | None
    targets: list[str] | None


class FineTuningJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job. The fields from `adapter` on extend OpenAI's object.

    `cost` is null until the job is charged, `expected_cost` until its files are checked. `duration_seconds` counts from
    the start of the training, to now while it runs, and `tokens_per_second` are trained tokens by that. The names are
    also those of files, keys and service accounts that were deleted. `warnings` begin with what the validation file
    shares with the training file. `waiting` is null for a job that does not wait.
    """

    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    model: str
    fine_tuned_model: str | None
    organization_id: str
    status: Status
    training_file: str
    validation_file: str | None
    hyperparameters: HyperparametersObject
    method: dict[str, Any]
    result_files: list[str]
    trained_tokens: int | None
    error: JobErrorObject | None
    seed: int
    suffix: str | None
    estimated_finish: int | None
    integrations: list[dict[str, Any]] | None
    metadata: dict[str, str] | None
    adapter: AdapterObject | None
    cost: Amount | None
    expected_cost: Amount | None
    metrics_summary: MetricsSummary
    tokens_per_second: float | None
    duration_seconds: float | None
    created_by: CreatedBy | None
    training_file_name: str | None
    validation_file_name: str | None
    warnings: list[JobWarning]
    waiting: QueueObject | None
    verdict: Verdict | None
    experiment: ExperimentArm | None


class JobPage(Page[FineTuningJob], frozen=True, kw_only=True):
    """A page of jobs. One that is sorted by a figure, and has more after it, has the cursor `next_after`.

    Unlike `last_id` that is exact while jobs run: it has the figure by which the page ended.
    """

    next_after: str | UnsetType = UNSET


class JobEventObject(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a job."""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any] | None


class CheckpointMetrics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The metrics at a checkpoint."""

    step: float | UnsetType = UNSET
    train_loss: float | UnsetType = UNSET
    train_mean_token_accuracy: float | UnsetType = UNSET
    valid_loss: float | UnsetType = UNSET
    valid_mean_token_accuracy: float | UnsetType = UNSET
    full_valid_loss: float | UnsetType = UNSET
    full_valid_mean_token_accuracy: float | UnsetType = UNSET


class CheckpointObject(msgspec.Struct, frozen=True, kw_only=True):
    """A usable model of an intermediate step."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    metrics: CheckpointMetrics
    step_number: int


class MetricRow(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics of one step; null where the upstream reported none."""

    step: int
    train_loss: float | None
    train_mean_token_accuracy: float | None
    valid_loss: float | None
    valid_mean_token_accuracy: float | None
    full_valid_loss: float | None
    full_valid_mean_token_accuracy: float | None


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """All steps of a job, in order."""

    object: Literal["list"] = "list"
    data: list[MetricRow]


class TimelineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A state that the job entered."""

    state: str
    entered_at: int
    reason: str | None


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `deploy`: `void` if the job ended without a model.

    `comparison` is present for a job that requests one, and null until it has begun. The status is `comparing` while it
    has not decided yet. `reason` says why the model was refused, or why its comparison has not begun.
    """

    alias: str
    status: Literal["pending", "comparing", "deployed", "refused", "void"]
    reason: str | None
    comparison: str | UnsetType | None = UNSET


class GpuSecondsObject(msgspec.Struct, frozen=True, kw_only=True):
    """Estimated GPU-seconds: nine of ten jobs take between `low` and `high`.

    They follow from the speed of so many finished `jobs` of the kind, or from the one that the models file documents.
    """

    low: float
    expected: float
    high: float
    jobs: int
    source: Literal["jobs", "documented"]


class JobCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a job was expected to cost, what it reserved, and what it cost; null before that is known.

    `gpu_seconds` are those that the upstream has metered so far, if it meters them, and `estimated_gpu_seconds` those
    by which a price by the GPU-second was estimated. `over_reservation`: it cost more than it reserved.
    """

    basis: Literal["tokens", "gpu_seconds"]
    expected: Amount | None
    reserved: Amount | None
    actual: Amount | None
    over_reservation: bool
    trained_tokens: int | None
    gpu_seconds: float | None
    estimated_gpu_seconds: GpuSecondsObject | None
    budget: Amount | None


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A job's states with their times, why it waits now, its cost, and the result of its `deploy`."""

    object: Literal["fine_tuning.job.timeline"] = "fine_tuning.job.timeline"
    job_id: str
    data: list[TimelineEntry]
    waiting_reason: str | None
    queue: QueueObject | None
    upstream_account: str | None
    cost: JobCost
    deploy: Deployment | None


Sort = Literal[
    "created_at",
    "cost",
    "expected_cost",
    "duration_seconds",
    "train_loss",
    "valid_loss",
    "best_valid_loss",
    "tokens_per_second",
    "trained_tokens",
]


class ListJobs(PageQuery, frozen=True, kw_only=True):
    """The query of a list of jobs; `metadata[key]=value` filters are read beside it.

    `train_loss` and `valid_loss` are the final ones. `model` is a base model by any of its names, or a tuned model;
    `created_by` the id or name of a key or service account. Jobs without the figure that is sorted by come last.
    """

    sort: Sort = "created_at"
    order: Literal["asc", "desc"] = "desc"
    status: Status | None = None
    model: str | None = None
    training_file: str | None = None
    created_by: str | None = None
    experiment: str | None = None
    metadata: Literal["null"] | None = None


class ListEvents(PageQuery, frozen=True, kw_only=True):
    """The query of a list of events. `stream=true` responds with server-sent events."""

    stream: bool = False


class ListCheckpoints(PageQuery, frozen=True, kw_only=True):
    """The query of a list of checkpoints."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10


class MetricsQuery(RequestModel, frozen=True, kw_only=True):
    """The format of the metrics: JSON or CSV."""

    format: Literal["json", "csv"] = "json"
