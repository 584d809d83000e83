"""The answer is the same text as the reference, with the same calls."""

from __future__ import annotations

from service.runs.comparisons.graders.base import AnswerContent, GraderOptions, Score, pass_or_fail


class ExactGrader(GraderOptions, frozen=True, kw_only=True, tag="exact"):
    """Surrounding white space is ignored; case and other white space are compared unless an option ignores them."""

    ignore_case: bool = False
    ignore_white_space: bool = False

    def score(self, answer: AnswerContent, reference: AnswerContent) -> Score:
        """Compare the texts, and the function calls by name and by the text of their arguments."""
        if self._same(answer.text, reference.text) and answer.calls == reference.calls:
            return pass_or_fail(True, "It is the example's answer.")
        if answer.calls != reference.calls:
            return pass_or_fail(False, "It calls other functions, or with other arguments.")
        return pass_or_fail(False, "It is not the example's answer.")

    def _same(self, one: str, other: str) -> bool:
        return self._folded(one) == self._folded(other)

    def _folded(self, text: str) -> str:
        text = " ".join(text.split()) if self.ignore_white_space else text.strip()
        return text.casefold() if self.ignore_case else text
