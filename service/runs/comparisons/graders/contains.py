"""The answer contains a text."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from service.runs.comparisons.graders.base import AnswerContent, GraderOptions, Score, pass_or_fail, quoted


class ContainsGrader(GraderOptions, frozen=True, kw_only=True, tag="contains"):
    """`text` has to be in the answer; without it, the reference answer."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)] | None = None
    ignore_case: bool = False

    compares_with_example: ClassVar[bool] = True

    def score(self, answer: AnswerContent, reference: AnswerContent) -> Score:
        """Search without the text's surrounding white space. An empty text fails."""
        sought = (reference.text if self.text is None else self.text).strip()
        if not sought:
            return pass_or_fail(False, "There is nothing to look for.")
        found = self._folded(sought) in self._folded(answer.text)
        what = "the example's answer" if self.text is None else quoted(self.text)
        return pass_or_fail(found, f"It {'has' if found else 'has not'} {what} in it.")

    def _folded(self, text: str) -> str:
        return text.casefold() if self.ignore_case else text
