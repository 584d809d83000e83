"""Checks of repeated content over the whole file: duplicates, conflicting answers, identical answers, system prompts.

For each example three 64-bit hashes and its line number are stored (29 bytes) and compared at the end
(`duplicates.exact`). The hashes are Python's own, with a new random key in every process: a collision cannot be
constructed on purpose, and the odds of an accidental one among a million rows are 1 to 37 million.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence

from service.datasets.checks.registry import Hit, LocatedHit, dataset_check, declare
from service.datasets.parsing.formats import Example

SECTION = "Quality"
_MIN_REPEATED_CHARS = 20
_MIN_REPEATED = 3
_MIN_REPEATED_SHARE = 0.01
_MAX_SYSTEMS = 10_000

DUPLICATE = declare(
    "duplicate_example",
    "warning",
    SECTION,
    "An example is the same as an earlier one, so it is billed again and has double weight. The comparison is exact, "
    "but ignores the order of keys.",
    fix="drop_duplicates",
    scope="dataset",
)
CONFLICT = declare(
    "conflicting_answers",
    "warning",
    SECTION,
    "The same prompt has another answer on an earlier line. The model cannot learn both.",
    scope="dataset",
)
IDENTICAL_ANSWERS = declare(
    "identical_answers",
    "warning",
    SECTION,
    "The same answer of 20 or more characters is given to at least three different prompts and in at least 1 % of the "
    "rows.",
    scope="dataset",
)
SYSTEM_VARIES = declare(
    "system_prompts_differ",
    "info",
    SECTION,
    "The rows have different system prompts. At inference, use one that was trained.",
    scope="dataset",
)
SYSTEM_MISSING = declare(
    "system_missing",
    "info",
    SECTION,
    "A row has no system (or developer) message while other rows have one. If no row has one, this is reported once.",
    scope="dataset",
)


@dataset_check(slow_to_finish=True)
class RepeatedContent:
    """Stores the hashes of all examples, and finds duplicates, conflicting answers and identical answers."""

    def __init__(self) -> None:
        self._lines = array("I")
        self._keys = array("q")
        self._prompts = array("q")
        self._answers = array("q")
        self._long = array("b")

    def add(self, examples: Sequence[Example]) -> None:
        """Stores the hashes of a batch."""
        self._lines.extend([example.line for example in examples])
        self._keys.extend([example.key for example in examples])
        self._prompts.extend([example.prompt_key if _has_one_answer(example) else 0 for example in examples])
        answers = [example.answer for example in examples]
        self._answers.extend([hash(text) for text in answers])
        self._long.extend([len(text) >= _MIN_REPEATED_CHARS for text in answers])

    def merge(self, later: RepeatedContent) -> None:
        """Appends the hashes of later examples."""
        self._lines += later._lines
        self._keys += later._keys
        self._prompts += later._prompts
        self._answers += later._answers
        self._long += later._long

    def finish(self) -> Iterable[LocatedHit]:
        """All duplicates, conflicting answers and identical answers."""
        # numpy is slow to import
        from service.datasets.duplicates.exact import conflicting_answers, exact_duplicates, identical_answers

        for row, first in exact_duplicates(self._keys):
            line = self._lines[first]
            hit = Hit("", "", f"This is the same example as on line {line}; remove one.")
            yield LocatedHit(DUPLICATE, self._lines[row], hit)
        for row, first in conflicting_answers(self._prompts, self._answers, self._keys):
            line = self._lines[first]
            hit = Hit("", "", f"Line {line} answers the same prompt differently; keep the better answer.")
            yield LocatedHit(CONFLICT, self._lines[row], hit)
        min_prompts = max(_MIN_REPEATED, int(len(self._keys) * _MIN_REPEATED_SHARE))
        for group in identical_answers(self._answers, self._long, self._prompts, min_prompts):
            message = f"{group.size:,} examples have this answer; the model learns to give it to any question."
            yield LocatedHit(IDENTICAL_ANSWERS, self._lines[group.first], Hit("", "", message))

    def notes(self) -> Iterable[str]:
        """None: the findings are complete."""
        return ()


@dataset_check(formats=("chat",))
class SystemPrompts:
    """Counts a file's system prompts, and records the rows without one."""

    def __init__(self) -> None:
        self._seen: Counter[int] = Counter()
        self._first_line: dict[int, int] = {}
        self._missing = array("I")

    def add(self, examples: Sequence[Example]) -> None:
        """Counts the system prompts of a batch by their hash."""
        for example in examples:
            if example.system is None:
                self._missing.append(example.line)
                continue
            key = hash(example.system)
            self._seen[key] += 1
            self._first_line.setdefault(key, example.line)

    def merge(self, later: SystemPrompts) -> None:
        """Adds the counts, of up to 10,000 different system prompts."""
        self._missing += later._missing
        for key, line in later._first_line.items():
            if key in self._first_line or len(self._first_line) < _MAX_SYSTEMS:
                self._seen[key] += later._seen[key]
                self._first_line.setdefault(key, line)

    def finish(self) -> Iterable[LocatedHit]:
        """None if all rows have the same system prompt; one finding if no row has any."""
        if self._missing and not self._first_line:
            message = (
                "No row has a system message; one that describes the task often helps. Use the same one in training "
                "and at inference."
            )
            yield LocatedHit(SYSTEM_MISSING, self._missing[0], Hit("/messages", "", message))
        elif self._missing:
            for line in self._missing:
                message = "This row has no system message, while other rows have one; add it here or remove theirs."
                yield LocatedHit(SYSTEM_MISSING, line, Hit("/messages", "", message))
        if len(self._first_line) > 1:
            second_line = sorted(self._first_line.values())[1]
            at_least = "at least " if len(self._first_line) == _MAX_SYSTEMS else ""
            prompts = f"{at_least}{len(self._first_line):,} different system prompts"
            message = f"The file has {prompts}; the most frequent is in {max(self._seen.values()):,} rows."
            yield LocatedHit(SYSTEM_VARIES, second_line, Hit("/messages/0", "", message))

    def notes(self) -> Iterable[str]:
        """None: the finding itself says if there are over 10,000 different system prompts."""
        return ()


def _has_one_answer(example: Example) -> bool:
    """Whether the row has a non-empty prompt with a single answer, unlike a preference pair."""
    return example.has_prompt and bool(example.answer) and "preferred_output" not in example.row
