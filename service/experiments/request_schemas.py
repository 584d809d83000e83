"""The bodies of requests for experiments. Pure."""

from typing import Annotated

import msgspec

from service.http.wire_types import PageQuery, RequestModel
from service.jobs.adapter_settings import AdapterSettings
from service.jobs.curves.early_stopping import EarlyStopping
from service.jobs.deployment import DeployComparison
from service.jobs.schemas import BatchSize, Beta, Epochs, Method, RateMultiplier
from service.models.aliases.names import AliasName
from service.runs.budget import Budget

MAX_ARMS = 32
"""The largest number of arms of one experiment."""

MAX_MODELS = 8
"""The largest number of different models that the arms of one experiment train."""

DEFAULT_PARALLEL = 2
DEFAULT_PRIORITY = -10
"""Below an ordinary job's 0: within the project, its other jobs go first."""

ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Seed = Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)]
DataShare = Annotated[float, msgspec.Meta(gt=0, le=1)]

_FEW = msgspec.Meta(min_length=1, max_length=MAX_ARMS)


class ArmRequest(RequestModel, frozen=True, kw_only=True):
    """One arm of `arms`: what differs from the experiment's own `model`, `method` and `seed`."""

    model: ModelName | None = None
    seed: Seed | None = None
    data_share: DataShare | None = None
    n_epochs: Epochs | None = None
    batch_size: BatchSize | None = None
    learning_rate_multiplier: RateMultiplier | None = None
    beta: Beta | None = None


class Grid(RequestModel, frozen=True, kw_only=True):
    """`grid`: every combination of these values is an arm, the first field varying slowest."""

    model: Annotated[list[ModelName], msgspec.Meta(min_length=1, max_length=MAX_MODELS)] | None = None
    n_epochs: Annotated[list[Epochs], _FEW] | None = None
    batch_size: Annotated[list[BatchSize], _FEW] | None = None
    learning_rate_multiplier: Annotated[list[RateMultiplier], _FEW] | None = None
    beta: Annotated[list[Beta], _FEW] | None = None
    data_share: Annotated[list[DataShare], _FEW] | None = None
    seed: Annotated[list[Seed], _FEW] | None = None


class CreateExperiment(RequestModel, frozen=True, kw_only=True):
    """The body of a create and of a quote: `grid` or `arms`, and what all arms have in common.

    `method` has the type and the hyperparameters that do not vary. Without a `seed`, a random one is the same for all
    arms. A `data_share` below 1 trains on that part of the training file, drawn by the arm's seed; smaller parts are
    within larger ones, and the validation file is never cut. `budget`, in dollars, bounds the sum of what the arms and
    the comparison have cost and reserved; it defaults to the quote's upper price. `budget_per_arm` is each job's
    `budget`, for models that are billed by the GPU-second. At most `max_parallel` arms are unfinished at a time, and
    `early_stopping` cancels those that fall behind.
    `comparison` compares the models of the arms that succeeded with the base model, and `promote` is an alias that gets
    the recommended model, if its comparison passes.
    """

    model: ModelName
    training_file: str
    validation_file: str | None = None
    method: Method | None = None
    adapter: AdapterSettings | None = None
    seed: Seed | None = None
    suffix: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    metadata: dict[str, str] | None = None
    upstream_account: str | None = None
    priority: Annotated[int, msgspec.Meta(ge=-100, le=100)] = DEFAULT_PRIORITY
    arms: Annotated[list[ArmRequest], _FEW] | None = None
    grid: Grid | None = None
    budget: Budget | None = None
    budget_per_arm: Budget | None = None
    max_parallel: Annotated[int, msgspec.Meta(ge=1, le=MAX_ARMS)] = DEFAULT_PARALLEL
    early_stopping: EarlyStopping | None = None
    comparison: DeployComparison | None = None
    promote: AliasName | None = None


class ListExperiments(PageQuery, frozen=True, kw_only=True):
    """The query of a list of experiments."""
