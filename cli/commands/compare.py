"""`tunegate compare FILE`: models side by side."""

import os
from dataclasses import dataclass, field, replace
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
class Wishes:
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


def compare(
    file: str = "",
    /,
    *,
    wishes: Annotated[Wishes, Parameter(name="*")] = Wishes(),
    ready_file: Path | None = None,
) -> int:
    """Compare models at the gateway over the examples of a file: scores, wins, tokens and cost, side by side.

    The gateway and the key are those of OPENAI_BASE_URL and OPENAI_API_KEY, or of --ready-file. Exits with 0 if all was
    compared, 1 if it ended early, 2 if it was refused or not begun, 3 if the last model does not beat the first one
    (--must-beat), 130 after Ctrl-C, which leaves it running.

    Parameters
    ----------
    file
        A file in JSON Lines, which is uploaded, or the id of one at the gateway.
    ready_file
        The ready file of a running `tunegate dev`.
    """
    import cli.compare as comparison
    from cli.gateway import Gateway

    gateway = Gateway.found(os.environ, ready_file)
    if wishes.cancel is not None:
        return comparison.cancel(gateway, wishes.cancel)
    if wishes.watch is not None:
        return comparison.watch(gateway, wishes.watch, wishes)
    return comparison.compare(gateway, replace(wishes, file=file))
