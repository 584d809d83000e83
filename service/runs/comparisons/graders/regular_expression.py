"""Does the answer match a pattern? By RE2, which takes a time in proportion to the answer whatever the pattern is."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, ClassVar

import msgspec
import re2

from service.runs.comparisons.graders.kinds import GraderOptions, GraderRefused, Mark, Said, shown, verdict

MOST_MEMORY_BYTES = 1 << 20
"""Of one compiled pattern; RE2 refuses one that needs more."""

READ_CHARACTERS = 50_000
"""Of an answer. At most a second and a half by the worst pattern that was found (measured), beside other work."""


class RegularExpressionGrader(GraderOptions, frozen=True, kw_only=True, tag="regular_expression"):
    """`pattern` is looked for anywhere, or has to be the `whole` answer without the white space around it."""

    pattern: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    whole: bool = False

    compares_with_example: ClassVar[bool] = False

    def check(self) -> None:
        """Raises `GraderRefused` for a pattern that RE2 does not take, such as one that looks ahead."""
        _compiled(self.pattern)

    def mark(self, said: Said, wanted: Said) -> Mark:
        """A match, or not; an answer that is too long to be looked at does not pass."""
        if len(said.text) > READ_CHARACTERS:
            return verdict(False, f"It has more than {READ_CHARACTERS:,} characters, which are not looked at.")
        text = said.text.strip().encode("utf-8", "replace")
        compiled = _compiled(self.pattern)
        found = compiled.fullmatch(text) if self.whole else compiled.search(text)
        return verdict(found is not None, f"It {'matches' if found else 'does not match'} {shown(self.pattern)}.")


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = MOST_MEMORY_BYTES
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0] if error.args else "it cannot be read"
        told = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise GraderRefused(
            f"The pattern is refused by RE2: {told[:200]}. Look-around and back-references are not supported.",
            option="pattern",
        ) from None
