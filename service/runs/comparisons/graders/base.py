"""What every grader has in common: its options, the answers that it reads and the scores that it gives."""

from __future__ import annotations

from typing import Annotated, ClassVar, NamedTuple

import msgspec

from service.errors import TunegateError
from service.http.wire_types import RequestModel

GraderName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class FunctionCall(NamedTuple):
    """A function call; `arguments` is the text that the model wrote, which may not be valid JSON."""

    name: str
    arguments: str


class AnswerContent(msgspec.Struct, frozen=True, kw_only=True):
    """The content of an answer: its text and its function calls."""

    text: str = ""
    calls: tuple[FunctionCall, ...] = ()


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """A grader's score of one answer, from 0 to 1, whether the answer passes, and the reason in one sentence.

    The reason may quote the answer or the grader's options, but not the example: it is stored longer than the file.
    """

    score: float
    passed: bool
    why: str


class GraderRefused(TunegateError):
    """The options of a grader are invalid. `option` is the one at fault."""

    def __init__(self, message: str, *, option: str) -> None:
        super().__init__(message)
        self.message = message
        self.option = option


class GraderOptions(RequestModel, frozen=True, kw_only=True, tag_field="type"):
    """The options of every grader: a `name` that is unique within the comparison.

    Every grader but the judge, which compares two answers, has `score(answer, reference)`; the reference is the
    example's own answer.
    """

    name: GraderName | None = None

    compares_with_example: ClassVar[bool] = True
    """Whether the grader needs the reference answer."""

    def check(self) -> None:
        """Check the options beyond their types. Raises `GraderRefused`."""


def pass_or_fail(passed: bool, why: str) -> Score:
    """The score of a grader that only passes or fails."""
    return Score(score=1.0 if passed else 0.0, passed=passed, why=why)


def quoted(text: str) -> str:
    """The start of a text, quoted for a reason."""
    flat = " ".join(text[:200].split())
    return repr(flat if len(flat) <= 80 else f"{flat[:79]}…")
