"""What a grader is shown and what it says."""

from __future__ import annotations

from typing import Annotated, ClassVar, NamedTuple

import msgspec

from service.errors import TunegateError
from service.http.wire_types import RequestModel

GraderName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Call(NamedTuple):
    """A call of a function; `arguments` is the JSON that the model wrote, whatever it is."""

    name: str
    arguments: str


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """An answer: its text, and the functions that it calls."""

    text: str = ""
    calls: tuple[Call, ...] = ()


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What a grader says of one answer: a score from 0 to 1, whether it passes, and why in a sentence.

    The reason quotes the answer or the grader's options, never the example: it outlives the file.
    """

    score: float
    passed: bool
    why: str


class GraderRefused(TunegateError):
    """A grader's options make no sense. `option` is the one at fault."""

    def __init__(self, message: str, *, option: str) -> None:
        super().__init__(message)
        self.message = message
        self.option = option


class GraderOptions(RequestModel, frozen=True, kw_only=True, tag_field="type"):
    """What every grader can be given: a `name`, which has to be its own among those of a comparison.

    All but the judge, who is asked about two answers at a time, have `mark(said, wanted)`: the mark of an answer, where
    `wanted` is the example's own.
    """

    name: GraderName | None = None

    compares_with_example: ClassVar[bool] = True
    """Whether it needs the example's own answer."""

    def check(self) -> None:
        """Raises `GraderRefused` for options that no answer can be graded with."""


def verdict(passed: bool, why: str) -> Mark:
    """The mark of a grader that knows right and wrong only."""
    return Mark(score=1.0 if passed else 0.0, passed=passed, why=why)


def shown(text: str) -> str:
    """A short piece of a text for a reason."""
    flat = " ".join(text[:200].split())
    return repr(flat if len(flat) <= 80 else f"{flat[:79]}…")
