"""The similarity of the answer's text and the reference's, by rapidfuzz."""

from __future__ import annotations

from typing import Literal

from service.runs.comparisons.graders.base import AnswerContent, GraderOptions, Score, Share

MAX_CHARACTERS = 20_000
"""Longer texts are cut: a comparison takes time proportional to the product of both lengths."""


class TextSimilarityGrader(GraderOptions, frozen=True, kw_only=True, tag="text_similarity"):
    """`by` names a function of rapidfuzz: `ratio` compares characters, `token_sort_ratio` sorted words, and
    `token_set_ratio` the words that both have.

    The score is the similarity; an answer passes from `at_least` on.
    """

    by: Literal["ratio", "token_sort_ratio", "token_set_ratio"] = "ratio"
    at_least: Share = 0.8
    ignore_case: bool = False

    def score(self, answer: AnswerContent, reference: AnswerContent) -> Score:
        """Compare without surrounding white space; two empty texts are equal."""
        from rapidfuzz import fuzz  # the API's process never grades

        mine, theirs = self._normalized(answer.text), self._normalized(reference.text)
        score = 1.0 if mine == theirs else float(getattr(fuzz, self.by)(mine, theirs)) / 100
        return Score(score=score, passed=score >= self.at_least, why=f"It is {score:.0%} like the example's answer.")

    def _normalized(self, text: str) -> str:
        text = text.strip()[:MAX_CHARACTERS]
        return text.casefold() if self.ignore_case else text
