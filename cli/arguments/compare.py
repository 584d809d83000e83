"""The arguments of `tunegate compare`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from cyclopts import Parameter

from cli.options import AsJson, Flag


class ComparisonOptions(TypedDict, total=False):
    """Options that are passed to the gateway unchanged."""

    max_examples: int | None
    """The number of examples, sampled by the seed. Default: 200."""
    turn: Literal["last", "first"] | None
    """The answer of a conversation that the models give anew. Default: the last."""
    seed: int | None
    """The same seed and inputs give the same result."""
    temperature: float | None
    """Default: 0."""
    max_tokens: int | None
    """The limit of each answer. Default: 512."""
    stop: Annotated[tuple[str, ...], Parameter(show_default="()")]
    """A text that ends a completion; repeatable."""
    budget: float | None
    """The most that the comparison may cost, in dollars. Default: the quote's upper price."""
    concurrency: int | None
    """Concurrent calls. Default: 8."""


@dataclass(frozen=True, kw_only=True)
class CompareArguments:
    """The file and options of the command, as typed."""

    file: Annotated[str, Parameter(parse=False)] = ""
    models: Annotated[tuple[str, ...], Parameter(name="--model")] = ()
    """A base model, a tuned model or an alias; repeatable. The others are compared with the first."""
    graders: Annotated[tuple[str, ...], Parameter(name="--grader")] = ()
    """exact, contains, json_equality, tool_calls, text_similarity, regular_expression=PATTERN, contains=TEXT,
    json_schema=FILE, judge=MODEL, or a grader as JSON; repeatable. Default: exact."""
    options: Annotated[ComparisonOptions, Parameter(name="*")] = field(default_factory=ComparisonOptions)
    out: Path | None = None
    """The file to write all answers and scores to: CSV for a name that ends in .csv, else JSON Lines."""
    must_beat: Flag = False
    """Exit with 3 unless the last model has a higher score than the first."""
    yes: Flag = False
    """Begin without confirmation."""
    follow: Annotated[str | None, Parameter(name="--watch")] = None
    """The id of a running comparison: show its progress instead of beginning one."""
    cancel: str | None = None
    """The id of a comparison to cancel."""
    as_json: AsJson = False
    """Print nothing but the comparison as JSON."""
