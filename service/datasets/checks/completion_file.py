"""Checks of a completion file as a whole: separators, endings, prefixes, case, size, and the likely task.

Source of the rules and of their numbers: OpenAI's retired `fine_tunes.prepare_data` tool.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from service.datasets.checks.registry import Hit, LocatedHit, dataset_check, declare
from service.datasets.parsing.formats import Example

SECTION = "Completion"
MIN_ROWS = 100
MAX_PROMPT_PREFIX = 12
MAX_COMPLETION_PREFIX = 5
_MAX_SEARCHED_LINES = 2_000
_MAX_SEARCHED_CHARS = 4_000_000
_MAX_DISTINCT = 200_000
_ROWS_PER_CLASS = 3

FEW_ROWS = declare(
    "completion_few_rows",
    "warning",
    SECTION,
    "The file has fewer than 100 rows. Use a few hundred.",
    scope="dataset",
)
TASK = declare(
    "completion_task",
    "info",
    SECTION,
    "The likely task of the file, with what it needs: open-ended generation (all prompts empty), classification (fewer "
    "than a third as many different completions as rows) or conditional generation.",
    scope="dataset",
)
NO_SEPARATOR = declare(
    "completion_no_separator",
    "warning",
    SECTION,
    "The prompts do not all end with the same separator, so the model must guess where the completion starts.",
    fix="add_separator",
    scope="dataset",
)
SEPARATOR_INSIDE = declare(
    "completion_separator_inside",
    "warning",
    SECTION,
    "The separator that ends all prompts also occurs inside this one.",
    fix="add_separator",
    scope="dataset",
)
PROMPTS_IDENTICAL = declare(
    "completion_prompts_identical",
    "warning",
    SECTION,
    "All prompts are the same. For open-ended generation, leave them empty.",
    scope="dataset",
)
COMPLETIONS_IDENTICAL = declare(
    "completion_all_identical",
    "warning",
    SECTION,
    "All completions are the same. The model will only repeat it.",
    scope="dataset",
)
PROMPT_PREFIX = declare(
    "completion_prompt_prefix",
    "warning",
    SECTION,
    "All prompts start with the same 13 or more characters. Instructions need not be repeated in every row.",
    fix="strip_common_prefix",
    scope="dataset",
)
COMPLETION_PREFIX = declare(
    "completion_completion_prefix",
    "warning",
    SECTION,
    "All completions start with the same 5 or more characters, which are billed in every row.",
    fix="strip_common_prefix",
    scope="dataset",
)
NO_ENDING = declare(
    "completion_no_ending",
    "warning",
    SECTION,
    "The completions have no common ending, so the model does not learn where to stop (conditional generation only).",
    fix="add_ending",
    scope="dataset",
)
UPPER_CASE = declare(
    "completion_upper_case",
    "warning",
    SECTION,
    "Over a third of the letters of the prompts, or of the completions, are upper case.",
    fix="lowercase",
    scope="dataset",
)


@dataset_check(formats=("completion",))
class CompletionColumns:
    """The properties of the two columns that `prepare_data` computes, collected row by row."""

    def __init__(self) -> None:
        self._rows = 0
        self._first_line = 0
        self._prompts = _Column()
        self._completions = _Column()
        self._distinct: set[int] = set()
        self._kept: list[tuple[int, str]] = []
        self._kept_chars = 0

    def add(self, examples: Sequence[Example]) -> None:
        """Records a batch, and keeps some prompts in which the separator is searched at the end."""
        for example in examples:
            prompt, completion = example.row.get("prompt"), example.row.get("completion")
            if not isinstance(prompt, str) or not isinstance(completion, str):
                continue
            self._rows += 1
            self._first_line = self._first_line or example.line
            self._prompts.add(prompt)
            self._completions.add(completion)
            self._distinct.add(hash(completion))
            if example.line <= _MAX_SEARCHED_LINES:
                self._kept.append((example.line, prompt))

    def merge(self, later: CompletionColumns) -> None:
        """Merges the columns; keeps prompts up to a limit of characters."""
        self._rows += later._rows
        self._first_line = self._first_line or later._first_line
        self._prompts.merge(later._prompts)
        self._completions.merge(later._completions)
        if len(self._distinct) < _MAX_DISTINCT:
            self._distinct |= later._distinct
        for line, prompt in later._kept:
            self._kept_chars += len(prompt)
            if self._kept_chars > _MAX_SEARCHED_CHARS:
                break
            self._kept.append((line, prompt))

    def finish(self) -> Iterable[LocatedHit]:
        """The findings of the whole file, at its first row, and one for each prompt that contains the separator."""
        if self._rows:
            for code, pointer, message in self._findings_of_file():
                yield LocatedHit(code, self._first_line, Hit(pointer, "", message))
            yield from self._separators_inside()

    def notes(self) -> Iterable[str]:
        """Says in how many prompts the separator was searched, if not in all."""
        if len(self._kept) < self._rows and self._separator():
            yield f"Separators inside prompts were searched in the first {len(self._kept):,} rows."

    def _task(self) -> str:
        if not self._prompts.chars:
            return "open-ended generation"
        few = len(self._distinct) < _MAX_DISTINCT and len(self._distinct) * _ROWS_PER_CLASS < self._rows
        return "classification" if few else "conditional generation"

    def _findings_of_file(self) -> Iterator[tuple[str, str, str]]:
        task, prompts, completions = self._task(), self._prompts, self._completions
        needs = {
            "open-ended generation": "only the completions are needed.",
            "classification": "end prompts with a separator, make each class one token, and request one token.",
            "conditional generation": "end prompts with a separator, and completions with an ending to stop at.",
        }
        yield TASK, "", f"This looks like {task}: {needs[task]}"
        if self._rows < MIN_ROWS:
            yield FEW_ROWS, "", f"{self._rows} rows are few; use a few hundred. Each doubling improves the results."
        if self._rows > 1 and completions.identical:
            yield COMPLETIONS_IDENTICAL, "/completion", "All completions are the same; the model will only repeat it."
        elif self._rows > 1:
            if len(completions.prefix) >= MAX_COMPLETION_PREFIX:
                message = f"All completions start with {_shown(completions.prefix)}; remove it and keep one space."
                yield COMPLETION_PREFIX, "/completion", message
            if task == "conditional generation" and not completions.suffix:
                message = 'The completions have no common ending; end each with the same one, such as " END".'
                yield NO_ENDING, "/completion", message
        for name, column in (("prompt", prompts), ("completion", completions)):
            if column.upper * 2 > column.lower and column.upper:
                share = 100 * column.upper // (column.upper + column.lower)
                yield (
                    UPPER_CASE,
                    f"/{name}",
                    f"{share} % of the {name}s' letters are upper case; write them in lower case.",
                )
        if task == "open-ended generation" or self._rows < 2:
            return
        if prompts.identical:
            yield PROMPTS_IDENTICAL, "/prompt", "All prompts are the same; leave them empty, or make them differ."
            return
        if len(prompts.prefix) > MAX_PROMPT_PREFIX:
            message = (
                f"All prompts start with {_shown(prompts.prefix)}; remove it: the model learns the task without it."
            )
            yield PROMPT_PREFIX, "/prompt", message
        if not prompts.suffix:
            message = (
                "The prompts have no common separator at the end; end each with the same one, such as \\n\\n###\\n\\n."
            )
            yield NO_SEPARATOR, "/prompt", message

    def _separator(self) -> str:
        return "" if self._prompts.identical or not self._prompts.chars else self._prompts.suffix

    def _separators_inside(self) -> Iterator[LocatedHit]:
        separator = self._separator()
        if not separator or self._rows < 2:
            return
        for line, prompt in self._kept:
            at = prompt.find(separator)
            if 0 <= at < len(prompt) - len(separator):
                message = f"The separator {_shown(separator)} also occurs inside this prompt; use one that does not."
                yield LocatedHit(SEPARATOR_INSIDE, line, Hit("/prompt", prompt, message, at))


class _Column:
    """The common prefix and suffix of all texts of a column, and their upper and lower case letters."""

    def __init__(self) -> None:
        self.prefix = ""
        self.suffix = ""
        self.chars = 0
        self.upper = 0
        self.lower = 0
        self.identical = True
        self._first: str | None = None

    def add(self, text: str) -> None:
        self.chars += len(text)
        upper = len(text) - len(text.translate(_NO_UPPER)) if text.isascii() else sum(map(str.isupper, text))
        self.upper += upper
        self.lower += len(text) - len(text.translate(_NO_LOWER)) if text.isascii() else sum(map(str.islower, text))
        if self._first is None:
            self._first = self.prefix = self.suffix = text
            return
        self.identical = self.identical and text == self._first
        self._shorten(text, text)

    def merge(self, later: _Column) -> None:
        self.chars += later.chars
        self.upper += later.upper
        self.lower += later.lower
        if self._first is None:
            self._first, self.prefix, self.suffix = later._first, later.prefix, later.suffix
            self.identical = later.identical
        elif later._first is not None:
            self.identical = self.identical and later.identical and later._first == self._first
            self._shorten(later.prefix, later.suffix)

    def _shorten(self, start: str, end: str) -> None:
        """Shortens prefix and suffix to what the column shares with another start and end."""
        if not start.startswith(self.prefix):
            self.prefix = _common_start(self.prefix, start)
        if not end.endswith(self.suffix):
            self.suffix = _common_start(self.suffix[::-1], end[::-1])[::-1]


_NO_UPPER = dict.fromkeys(range(ord("A"), ord("Z") + 1))
_NO_LOWER = dict.fromkeys(range(ord("a"), ord("z") + 1))


def _common_start(known: str, text: str) -> str:
    length = next((at for at, (one, other) in enumerate(zip(known, text, strict=False)) if one != other), len(text))
    return known[:length]


def _shown(text: str) -> str:
    return repr(text[:40])
