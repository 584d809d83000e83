"""The arguments of `tunegate generate`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypedDict

from cyclopts import Parameter

from cli.options import AsJson, Flag


class Question(TypedDict, total=False):
    """The step that asks."""

    model: Annotated[str | None, Parameter(name="--question-model")]
    """The model that writes the questions."""
    prompt: Annotated[str | None, Parameter(name="--question-prompt")]
    """The prompt for a question; {topic}, {number}, {n} and {angle} stand for what they say."""
    temperature: Annotated[float | None, Parameter(name="--question-temperature")]
    """Its temperature. Default: 1."""
    max_tokens: Annotated[int | None, Parameter(name="--question-max-tokens")]
    """Its limit. Default: 200."""


class Answer(TypedDict, total=False):
    """The step that answers."""

    model: Annotated[str | None, Parameter(name="--answer-model")]
    """The model that answers."""
    prompt: Annotated[str | None, Parameter(name="--answer-prompt")]
    """What it is told besides the system prompt."""
    temperature: Annotated[float | None, Parameter(name="--answer-temperature")]
    """Its temperature. Default: the model's."""
    max_tokens: Annotated[int | None, Parameter(name="--answer-max-tokens")]
    """Its limit. Default: 800; an answer that is cut is asked once more with a larger one."""


@dataclass(frozen=True, kw_only=True)
class GenerateArguments:
    """The command's topics and options, as they were typed."""

    topics: Annotated[tuple[str, ...], Parameter(parse=False)] = ()
    topics_file: Path | None = None
    """More topics, one a line."""
    n: int = 10
    """Examples of each topic."""
    model: str | None = None
    """The model that is asked, unless a step names its own."""
    question: Annotated[Question, Parameter(name="*")] = field(default_factory=Question)
    answer: Annotated[Answer, Parameter(name="*")] = field(default_factory=Answer)
    system_prompt: str | None = None
    """What every example begins with."""
    tools: Path | None = None
    """A JSON file with definitions of functions: the answers are calls of them."""
    seed: int = 0
    """The same seed asks the same."""
    budget: float | None = None
    """Dollars that it may cost. Default: the quote's upper price."""
    concurrency: int | None = None
    """Calls at a time. Default: 8."""
    name: str | None = None
    """The file's name at the gateway."""
    out: Path | None = None
    """Where to write the file here."""
    yes: Flag = False
    """Begin without being asked."""
    watch: str | None = None
    """The id of a generation whose progress is shown, instead of beginning one."""
    cancel: str | None = None
    """The id of a generation to stop."""
    as_json: AsJson = False
    """Print nothing but the generation as JSON."""
