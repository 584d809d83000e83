"""Is a text in the answer?"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from service.runs.comparisons.graders.kinds import GraderOptions, Mark, Said, shown, verdict


class ContainsGrader(GraderOptions, frozen=True, kw_only=True, tag="contains"):
    """Looks for `text`; without one, for the example's own answer."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)] | None = None
    ignore_case: bool = False

    compares_with_example: ClassVar[bool] = True

    def mark(self, said: Said, wanted: Said) -> Mark:
        """White space at the ends of what is looked for does not count. Nothing is in no answer."""
        sought = (wanted.text if self.text is None else self.text).strip()
        if not sought:
            return verdict(False, "There is nothing to look for.")
        found = self._folded(sought) in self._folded(said.text)
        what = "the example's answer" if self.text is None else shown(self.text)
        return verdict(found, f"It {'has' if found else 'has not'} {what} in it.")

    def _folded(self, text: str) -> str:
        return text.casefold() if self.ignore_case else text
