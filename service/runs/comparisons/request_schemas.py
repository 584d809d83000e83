"""The bodies and queries of requests for comparisons. Pure: the creation of a job may request a comparison too."""

from typing import Annotated, Literal

import msgspec

from service.http.wire_types import PageQuery, RequestModel
from service.runs.budget import Budget
from service.runs.comparisons.graders.registry import AnyGrader
from service.runs.comparisons.options import Turn

MAX_EXAMPLES = 5_000
DEFAULT_EXAMPLES = 200
DEFAULT_MAX_TOKENS = 512
DEFAULT_CONCURRENCY = 8

ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Graders = Annotated[list[AnyGrader], msgspec.Meta(min_length=1, max_length=10)]
Examples = Annotated[int, msgspec.Meta(ge=1, le=MAX_EXAMPLES)]
Seed = Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)]
MaxTokens = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
Stop = Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=64)]], msgspec.Meta(max_length=4)]


class CreateComparison(RequestModel, frozen=True, kw_only=True):
    """The body of a creation and of a quote. The other models are compared with the first one.

    `turn` selects the answer of a conversation that the models give anew. `budget` is in dollars and bounds the sum of
    what is posted and reserved; it defaults to the quote's upper price.
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
    """The query of a comparison's cases. `failed` filters by a grader that was not passed, by any model or by `model`;
    `winner` filters by the winning model or `tie`. The formats `csv` and `jsonl` return all cases as one file."""

    failed: str | None = None
    model: str | None = None
    winner: str | None = None
    format: Literal["json", "csv", "jsonl"] = "json"
