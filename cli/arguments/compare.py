"""The arguments of `tunegate compare`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from cyclopts import Parameter

from cli.options import AsJson, Flag


class Options(TypedDict, total=False):
    """What the gateway is told as it stands here."""

    max_examples: int | None
    """How many examples are asked, chosen by the seed. Default: 200."""
    turn: Literal["last", "first"] | None
    """Which answer of a conversation is asked for again. Default: the last."""
    seed: int | None
    """The same seed and inputs give the same result."""
    temperature: float | None
    """Default: 0."""
    max_tokens: int | None
    """The limit of each answer. Default: 512."""
    stop: Annotated[tuple[str, ...], Parameter(show_default="()")]
    """What ends a completion; several times."""
    budget: float | None
    """Dollars that it may cost. Default: the quote's upper price."""
    concurrency: int | None
    """Calls at a time. Default: 8."""


@dataclass(frozen=True, kw_only=True)
class CompareArguments:
    """The command's file and options, as they were typed."""

    file: Annotated[str, Parameter(parse=False)] = ""
    models: Annotated[tuple[str, ...], Parameter(name="--model")] = ()
    """A model, an alias or a tuned model; several times. The first is what the others are compared with."""
    graders: Annotated[tuple[str, ...], Parameter(name="--grader")] = ()
    """exact, contains, json_equality, tool_calls, text_similarity, regular_expression=PATTERN, contains=TEXT,
    json_schema=FILE, judge=MODEL, or a grader as JSON; several times. Default: exact."""
    options: Annotated[Options, Parameter(name="*")] = field(default_factory=Options)
    out: Path | None = None
    """Where to write all answers with their marks: CSV for a name that ends in .csv, else JSON Lines."""
    must_beat: Flag = False
    """Exit with 3 unless the last model has a higher score than the first."""
    yes: Flag = False
    """Begin without being asked."""
    watch: str | None = None
    """The id of a comparison whose progress is shown, instead of beginning one."""
    cancel: str | None = None
    """The id of a comparison to stop."""
    as_json: AsJson = False
    """Print nothing but the comparison as JSON."""
