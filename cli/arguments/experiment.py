"""The options of `tunegate experiment FILE`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from cli.arguments.train import HOW
from cli.options import AsJson, Flag, Repeatable

VARIED = Group("What the arms vary", sort_key=0)
COMMON = Group("What all arms have in common", sort_key=1)
END = Group("Which arms to stop, compare and promote", sort_key=2)


@Parameter(name="*", group=VARIED)
@dataclass(frozen=True, kw_only=True)
class Varied:
    """Each combination of these values is an arm."""

    models: Annotated[Repeatable, Parameter(name="--model")] = ()
    """A model to train; repeatable."""
    epochs: str | None = None
    """Numbers of epochs, such as 2,3,4."""
    batch_size: str | None = None
    """Batch sizes, such as 4,8."""
    learning_rate_multiplier: str | None = None
    """Factors on the default learning rate, such as 0.5,1,2."""
    beta: str | None = None
    """Values of beta for --method dpo, such as 0.1,0.5."""
    data_share: str | None = None
    """Shares of the training file, such as 0.5,1: what more data would give."""
    seed: str | None = None
    """Seeds, such as 1,2,3: how much the result depends on chance."""
    arms: Annotated[Repeatable, Parameter(name="--arm")] = ()
    """One arm as SETTING=VALUE,…, such as n_epochs=2,data_share=0.5, instead of combinations; repeatable."""


@Parameter(name="*", group=COMMON)
@dataclass(frozen=True, kw_only=True)
class Common:
    """The fields that are the same for all arms."""

    valid: str | None = None
    """A file of held-out examples, or the id of one at the gateway; it decides which arm is best."""
    method: Literal["supervised", "dpo"] | None = None
    """The training method. Default: supervised."""
    suffix: str | None = None
    """A part of the tuned models' names."""
    metadata: Repeatable = ()
    """KEY=VALUE to store with the experiment; repeatable."""
    budget: float | None = None
    """The most that all arms and the comparison may cost, in dollars. Default: the quote's upper price."""
    budget_per_arm: float | None = None
    """The most that an arm may cost, in dollars, for models billed by the GPU-second."""
    max_parallel: int | None = None
    """How many arms may be unfinished at a time. Default: 2."""
    priority: int | None = None
    """Jobs of the project with a higher priority start first. Default: -10, below other jobs."""
    upstream: str | None = None
    """The id of the upstream account to train at."""


@Parameter(name="*", group=END)
@dataclass(frozen=True, kw_only=True)
class End:
    """What happens to the arms while they run and at the end."""

    early_stopping: str | None = None
    """Stop arms that fall behind: median or successive_halving, with options such as median,after=0.3."""
    compare: str | None = None
    """A file to compare the models on, or the id of one at the gateway."""
    graders: Annotated[Repeatable, Parameter(name="--grader")] = ()
    """The graders of the comparison, as of `tunegate compare`; repeatable. Default: exact."""
    must_beat: Literal["base", "current"] | None = None
    """What the recommended model must beat to be promoted: the base model, or the alias's current one."""
    promote: str | None = None
    """The alias that gets the recommended model."""


@Parameter(name="*", group=HOW)
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How the command behaves."""

    yes: Flag = False
    """Create the experiment without confirmation."""
    quote: Flag = False
    """Show the arms and their price, and create nothing."""
    follow: Annotated[bool | None, Parameter(name="--watch", negative="--no-watch")] = None
    """Follow the experiment until it has ended. Default: only at a terminal."""
    as_json: AsJson = False
    """Print nothing but the API's object as JSON: the experiment, or with --quote the quote."""
