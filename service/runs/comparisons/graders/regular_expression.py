"""The answer matches a pattern. RE2 matches in time proportional to the answer, for every pattern."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, ClassVar

import msgspec

from service.runs.comparisons.graders.base import (
    AnswerContent,
    GraderOptions,
    GraderRefused,
    Score,
    pass_or_fail,
    quoted,
)

MAX_MEMORY_BYTES = 1 << 20
"""The memory limit of one compiled pattern; RE2 refuses patterns that need more."""

MAX_CHARACTERS = 50_000
"""The longest answer that is matched. The slowest known pattern takes up to 1.5 s for it (measured under load)."""


class RegularExpressionGrader(GraderOptions, frozen=True, kw_only=True, tag="regular_expression"):
    """`pattern` has to match anywhere in the answer; with `whole`, the answer without surrounding white space."""

    pattern: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    whole: bool = False

    compares_with_example: ClassVar[bool] = False

    def check(self) -> None:
        """Compile the pattern. Raises `GraderRefused` for one that RE2 refuses, such as one with look-ahead."""
        compiled(self.pattern)

    def score(self, answer: AnswerContent, reference: AnswerContent) -> Score:
        """Pass on a match; an answer that is too long to be matched fails."""
        if len(answer.text) > MAX_CHARACTERS:
            return pass_or_fail(False, f"It has more than {MAX_CHARACTERS:,} characters, the most that are matched.")
        text = answer.text.strip().encode("utf-8", "replace")
        matcher = compiled(self.pattern)
        found = matcher.fullmatch(text) if self.whole else matcher.search(text)
        return pass_or_fail(found is not None, f"It {'matches' if found else 'does not match'} {quoted(self.pattern)}.")


@lru_cache(maxsize=16)
def compiled(pattern: str) -> Any:
    """The compiled pattern. Raises `GraderRefused`."""
    import re2  # the API's process never grades

    options = re2.Options()
    options.max_mem = MAX_MEMORY_BYTES
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0] if error.args else "it cannot be read"
        message = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise GraderRefused(
            f"The pattern is refused by RE2: {message[:200]}. Look-around and back-references are not supported.",
            option="pattern",
        ) from None
