"""The options of commands that create, quote or clone a fine-tuning job."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from cli.options import AsJson, Flag, Repeatable

TRAINING = Group("Training", sort_key=1)
JOB = Group("Job", sort_key=2)
HOW = Group("Command", sort_key=3)

Whole = int | Literal["auto"]
Number = float | Literal["auto"]


@Parameter(name="*", group=TRAINING)
@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What determines the price and the result of a job; what is not given, the gateway or the upstream chooses."""

    model: str | None = None
    """The model to train: a base model, or a tuned model to train further."""
    valid: str | None = None
    """A file of held-out examples, or the id of one at the gateway."""
    method: Literal["supervised", "dpo"] | None = None
    """The training method. Default: supervised."""
    epochs: Whole | None = None
    """How often the training file is trained; `auto` lets the gateway choose."""
    batch_size: Whole | None = None
    """The examples of each step."""
    learning_rate_multiplier: Number | None = None
    """The factor on the default learning rate."""
    beta: Number | None = None
    """How much a job with --method dpo is kept near the model that it starts from; greater is nearer."""
    adapter: Literal["lora", "full"] | None = None
    """Train low-rank matrices beside frozen weights, or all weights; only where the upstream has the choice."""
    adapter_rank: int | None = None
    """The rank of the low-rank matrices."""
    adapter_alpha: float | None = None
    """The scale of the low-rank matrices."""
    adapter_dropout: float | None = None
    """The dropout of the low-rank matrices."""
    adapter_targets: Repeatable = ()
    """A linear layer to adapt, such as q_proj, or all-linear; repeatable."""
    budget: float | None = None
    """The most that the job may cost, in dollars, for models billed by the GPU-second."""


@Parameter(name="*", group=JOB)
@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """The other fields of a job's create."""

    suffix: str | None = None
    """A part of the tuned model's name."""
    seed: int | None = None
    """The same seed and inputs give the same result, as far as the upstream can."""
    metadata: Repeatable = ()
    """KEY=VALUE to store with the job; repeatable."""
    deploy: str | None = None
    """An alias to promote to the tuned model when the job succeeds."""
    upstream: str | None = None
    """The id of the upstream account to train at."""
    priority: int | None = None
    """Jobs of the project with a higher priority start first. Default: 0."""


@Parameter(name="*", group=HOW)
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a command that creates a job behaves."""

    yes: Flag = False
    """Create the job without confirmation."""
    quote: Flag = False
    """Show the report and the price, and create nothing."""
    follow: Annotated[bool | None, Parameter(name="--watch", negative="--no-watch")] = None
    """Follow the job until it has ended. Default: only at a terminal."""
    as_json: AsJson = False
    """Print nothing but the API's object as JSON: the job, or with --quote the quote."""
