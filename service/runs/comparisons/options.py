"""What a comparison was asked for, with every default filled in: what its plan is made of. Pure."""

from typing import Literal

import msgspec

from service.runs.comparisons.graders.registry import AnyGrader, named

Format = Literal["chat", "completion", "preference"]
Turn = Literal["last", "first"]


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A model by the name that was `asked` for, and what that stood for at the time: an alias may move meanwhile."""

    asked: str
    model: str


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Under which a job's model is deployed: the second model has to beat the first.

    `sure` wants the whole interval of the difference above zero; `least_score` a mean score besides.
    """

    job_id: str
    sure: bool = False
    least_score: float | None = None


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison. The first model is the one that the others are compared with.

    `file_examples` is how many the file has, `examples` how many of them are asked; `turn` which answer of a
    conversation is asked for again. `judges` are the models behind the judging graders, by the grader's name.
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
        return named(self.graders)
