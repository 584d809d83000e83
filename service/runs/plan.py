"""What a run asks next. Pure: a plan is made of the run's options and of the answers so far, and of nothing else.

Every call has a key that says what it is for. A plan that is given the same answers by key, in any order and with any
interruption, makes the same of them; so whoever goes on with a run makes its plan anew and replays what is answered.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

CHAT = "/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call to be made: `body` is sent as it is, with the model in it."""

    key: str
    model: str
    body: Mapping[str, Any]
    path: str = CHAT


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a call: a message, or the words in which the upstream refused it for good.

    The tokens and the cost are what was posted for it.
    """

    message: Mapping[str, Any] | None = None
    refusal: str | None = None
    finish_reason: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0

    @property
    def text(self) -> str:
        """What was said; empty for a refusal, or a call of a tool."""
        content = (self.message or {}).get("content")
        return content if isinstance(content, str) else ""


class Plan(Protocol):
    """One run's."""

    @property
    def total(self) -> int:
        """How much the run is to make."""
        ...

    @property
    def done(self) -> int:
        """How much of that is made."""
        ...

    def next_call(self) -> Call | None:
        """A call that can be made now and was not given before; None: an answer must come first, or all is asked."""
        ...

    def take(self, key: str, answer: Answer) -> None:
        """Take in the answer to a call that was given."""
        ...


def unanswered(plan: Plan, answers: Mapping[str, Answer]) -> Iterator[Call]:
    """The calls that a plan wants now and that are not among the answers; the plan takes those in on the way.

    Ends when the plan waits for an answer. After one was taken in, ask for a new iterator.
    """
    while (call := plan.next_call()) is not None:
        if (known := answers.get(call.key)) is not None:
            plan.take(call.key, known)
        else:
            yield call


def walk(plan: Plan, ask: "Mapping[str, Answer]") -> bool:
    """Bring a plan as far as the answers go. Whether it has all that it wants."""
    return next(unanswered(plan, ask), None) is None
