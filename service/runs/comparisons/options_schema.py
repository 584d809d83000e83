"""What a comparison can be asked for, on the wire. Pure: a job's create asks for one too."""

from typing import Annotated, Literal

import msgspec

from service.http.wire_types import PageQuery, RequestModel
from service.runs.comparisons.graders.registry import AnyGrader
from service.runs.comparisons.options import Turn
from service.runs.limits import Budget

MOST_EXAMPLES = 5_000
DEFAULT_EXAMPLES = 200
DEFAULT_MAX_TOKENS = 512
DEFAULT_CONCURRENCY = 8

ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Graders = Annotated[list[AnyGrader], msgspec.Meta(min_length=1, max_length=10)]
Examples = Annotated[int, msgspec.Meta(ge=1, le=MOST_EXAMPLES)]
Seed = Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)]
MaxTokens = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
Stop = Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=64)]], msgspec.Meta(max_length=4)]


class CreateComparison(RequestModel, frozen=True, kw_only=True):
    """The body of a creation and of a quote. The first model is the one that the others are compared with.

    `turn` is the answer of a conversation that is asked for again. `budget` is in dollars and bounds what is posted and
    reserved together; without one the quote's upper price does.
    """

    models: Annotated[list[ModelName], msgspec.Meta(min_length=1, max_length=8)]
    file: str
    graders: Graders
    max_examples: Examples = DEFAULT_EXAMPLES
    turn: Turn = "last"
    seed: Seed = 0
    temperature: Temperature = 0.0
    max_tokens: MaxTokens = DEFAULT_MAX_TOKENS
    stop: Stop = msgspec.field(default_factory=list)
    budget: Budget | None = None
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=256)] = DEFAULT_CONCURRENCY


class ListCases(PageQuery, frozen=True, kw_only=True):
    """The query of a comparison's cases: those in which `failed`, a grader, was not passed, by any model or by `model`;
    those that `winner` has won, a model or `tie`. `format` gives all of them at once, as a file."""

    failed: str | None = None
    model: str | None = None
    winner: str | None = None
    format: Literal["json", "csv", "jsonl"] = "json"
