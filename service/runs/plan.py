"""Plans: which calls a run makes next. Pure: a plan depends on the run's options and the answers so far only.

Every call has a key. A plan that takes the same answers by key, in any order and with any interruption, has the same
result; so the worker that resumes a run builds its plan anew and replays the recorded answers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from service.json_limits import VALUE_BYTES

CHAT = "/chat/completions"

MAX_ANSWERS_BYTES = 128 << 20
"""The largest size of a run's answers, which are in memory while it is advanced. 5,000 cases of eight models with 512
tokens each have about 80 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call to make: `body` is sent as it is, with `model` added. It has about `size_bytes` as JSON."""

    key: str
    model: str
    body: Mapping[str, Any]
    path: str = CHAT
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to a call: a message, or the message of the upstream's `refusal`.

    The tokens and the cost are those that were posted for the call.
    """

    message: Mapping[str, Any] | None = None
    refusal: str | None = None
    finish_reason: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0

    @property
    def text(self) -> str:
        """The text of the message; empty for a refusal, and for a call of a tool without text."""
        content = (self.message or {}).get("content")
        return content if isinstance(content, str) else ""


def size_bytes(answer: Answer) -> int:
    """The size of an answer's message: its bytes as JSON, and the memory of its values."""
    return len(msgspec.json.encode(answer.message)) + VALUE_BYTES * _values(answer.message)


def _values(value: object) -> int:
    match value:
        case dict():
            return 1 + sum(map(_values, value.values()))
        case list():
            return 1 + sum(map(_values, value))
        case _:
            return 1


class Plan(Protocol):
    """The plan of one run."""

    @property
    def total(self) -> int:
        """The number of examples or cases that the run makes."""
        ...

    @property
    def done(self) -> int:
        """The number of those that are complete."""
        ...

    def next_call(self) -> Call | None:
        """The next call to make, each given once; None when an answer is needed first, or when no call is left."""
        ...

    def take(self, key: str, answer: Answer) -> None:
        """Take the answer to a call that was given."""
        ...


def unanswered(plan: Plan, answers: Mapping[str, Answer]) -> Iterator[Call]:
    """The calls that a plan can make now and that have no answer yet; the plan takes the known answers on the way.

    Ends when the plan needs an answer. Make a new iterator after the plan has taken one.
    """
    while (call := plan.next_call()) is not None:
        if (known := answers.get(call.key)) is not None:
            plan.take(call.key, known)
        else:
            yield call


def replay(plan: Plan, answers: Mapping[str, Answer]) -> bool:
    """Replay answers into a plan. Returns whether no call is left to make for now."""
    return next(unanswered(plan, answers), None) is None
