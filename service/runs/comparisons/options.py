"""The options of a comparison, with every default filled in, as its plan takes them. Pure."""

from typing import Literal

import msgspec

from service.runs.comparisons.graders.registry import AnyGrader, graders_by_name

Format = Literal["chat", "completion", "preference"]
Turn = Literal["last", "first"]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A model as it was `requested`, and the model that the name stood for then: an alias may move later."""

    requested: str = msgspec.field(name="asked")
    model: str


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """The condition for deploying a job's model: the second model has to beat the first.

    With `sure`, the whole interval of the difference has to be above zero; `least_score` is the lowest mean score that
    is allowed.
    """

    job_id: str
    sure: bool = False
    least_score: float | None = None


class ComparisonPlanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a comparison. The other models are compared with the first one.

    `file_examples` is the number of examples in the file, `examples` how many of them are used; `turn` selects the
    answer of a conversation that the models give anew. `judges` maps judge graders, by name, to their models.
    """

    models: list[Compared]
    graders: list[AnyGrader]
    judges: dict[str, str]
    format: Format
    file_examples: int
    examples: int
    turn: Turn
    seed: int
    temperature: float
    max_tokens: int
    stop: list[str]
    condition: Condition | None = None

    @property
    def by_name(self) -> dict[str, AnyGrader]:
        """The graders by their names."""
        return graders_by_name(self.graders)
