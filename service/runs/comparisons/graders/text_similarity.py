"""How near is the text of the answer to the example's?"""

from __future__ import annotations

from typing import Literal

from service.runs.comparisons.graders.kinds import GraderOptions, Mark, Said, Share

READ_CHARACTERS = 20_000
"""Of each text: what is compared takes a time in proportion to the product of both lengths."""


class TextSimilarityGrader(GraderOptions, frozen=True, kw_only=True, tag="text_similarity"):
    """By rapidfuzz: `ratio` of characters that need no edit, of sorted words, or of the words that both have.

    The score is the likeness; from `at_least` on an answer passes.
    """

    by: Literal["ratio", "token_sort_ratio", "token_set_ratio"] = "ratio"
    at_least: Share = 0.8
    ignore_case: bool = False

    def mark(self, said: Said, wanted: Said) -> Mark:
        """White space at the ends does not count. Two empty texts are alike."""
        from rapidfuzz import fuzz  # only where answers are graded: never in the API's process

        mine, theirs = self._read(said.text), self._read(wanted.text)
        score = 1.0 if mine == theirs else float(getattr(fuzz, self.by)(mine, theirs)) / 100
        return Mark(score=score, passed=score >= self.at_least, why=f"It is {score:.0%} like the example's answer.")

    def _read(self, text: str) -> str:
        text = text.strip()[:READ_CHARACTERS]
        return text.casefold() if self.ignore_case else text
