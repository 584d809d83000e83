"""Is the answer word for word the example's?"""

from __future__ import annotations

from service.runs.comparisons.graders.kinds import GraderOptions, Mark, Said, verdict


class ExactGrader(GraderOptions, frozen=True, kw_only=True, tag="exact"):
    """White space at the ends never counts; elsewhere and case only where they are not ignored."""

    ignore_case: bool = False
    ignore_white_space: bool = False

    def mark(self, said: Said, wanted: Said) -> Mark:
        """Equal texts, in calls of functions too: those by name and by what was written."""
        if self._same(said.text, wanted.text) and said.calls == wanted.calls:
            return verdict(True, "It is the example's answer.")
        if said.calls != wanted.calls:
            return verdict(False, "It calls other functions, or with other arguments.")
        return verdict(False, "It is not the example's answer.")

    def _same(self, one: str, other: str) -> bool:
        return self._folded(one) == self._folded(other)

    def _folded(self, text: str) -> str:
        text = " ".join(text.split()) if self.ignore_white_space else text.strip()
        return text.casefold() if self.ignore_case else text
