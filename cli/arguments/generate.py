"""The arguments of `tunegate generate`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypedDict

from cyclopts import Parameter

from cli.options import AsJson, Flag


class QuestionStep(TypedDict, total=False):
    """The options of the step that writes questions."""

    model: Annotated[str | None, Parameter(name="--question-model")]
    """The model that writes the questions."""
    prompt: Annotated[str | None, Parameter(name="--question-prompt")]
    """The prompt for a question; the placeholders {topic}, {number}, {n} and {angle} are filled in."""
    temperature: Annotated[float | None, Parameter(name="--question-temperature")]
    """The temperature of questions. Default: 1."""
    max_tokens: Annotated[int | None, Parameter(name="--question-max-tokens")]
    """The limit of a question. Default: 200."""


class AnswerStep(TypedDict, total=False):
    """The options of the step that writes answers."""

    model: Annotated[str | None, Parameter(name="--answer-model")]
    """The model that writes the answers."""
    prompt: Annotated[str | None, Parameter(name="--answer-prompt")]
    """The instructions for an answer, in addition to the system prompt."""
    temperature: Annotated[float | None, Parameter(name="--answer-temperature")]
    """The temperature of answers. Default: the model's."""
    max_tokens: Annotated[int | None, Parameter(name="--answer-max-tokens")]
    """The limit of an answer. Default: 800; an answer that is cut is requested again with a larger one."""


@dataclass(frozen=True, kw_only=True)
class GenerateArguments:
    """The topics and options of the command, as typed."""

    topics: Annotated[tuple[str, ...], Parameter(parse=False)] = ()
    topics_file: Path | None = None
    """More topics, one a line."""
    n: int = 10
    """The number of examples of each topic."""
    model: str | None = None
    """The model for both steps, unless a step names its own."""
    question: Annotated[QuestionStep, Parameter(name="*")] = field(default_factory=QuestionStep)
    answer: Annotated[AnswerStep, Parameter(name="*")] = field(default_factory=AnswerStep)
    system_prompt: str | None = None
    """The system prompt of every example."""
    tools: Path | None = None
    """A JSON file with function definitions: the answers are tool calls."""
    seed: int = 0
    """The same seed sends the same prompts."""
    budget: float | None = None
    """The most that the generation may cost, in dollars. Default: the quote's upper price."""
    concurrency: int | None = None
    """Concurrent calls. Default: 8."""
    name: str | None = None
    """The name of the file at the gateway."""
    out: Path | None = None
    """The local file to write the examples to."""
    yes: Flag = False
    """Begin without confirmation."""
    follow: Annotated[str | None, Parameter(name="--watch")] = None
    """The id of a running generation: show its progress instead of beginning one."""
    cancel: str | None = None
    """The id of a generation to cancel."""
    as_json: AsJson = False
    """Print nothing but the generation as JSON."""
