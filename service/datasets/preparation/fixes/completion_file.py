"""Fixes of a completion file as a whole: separators, endings, common prefixes, upper case.

Source of the rules: OpenAI's retired `fine_tunes.prepare_data` tool. Each changes a file
only if the check reports it, and runs that check itself. Separator and ending are `###` between white space, or with
more `#` if a text contains that already; they have no letters, so that they are neither words nor change the case of a
file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from service.catalogue.tokens import ModelFacts
from service.datasets.checks.completion_file import (
    COMPLETION_PREFIX,
    MAX_COMPLETION_PREFIX,
    MAX_PROMPT_PREFIX,
    NO_ENDING,
    NO_SEPARATOR,
    PROMPT_PREFIX,
    UPPER_CASE,
    CompletionColumns,
)
from service.datasets.parsing.formats import read_example
from service.datasets.preparation.changes import Dropped
from service.datasets.preparation.fixes.kinds import NumberedFix
from service.datasets.preparation.scratch import NumberedRow, Row
from service.datasets.report_schema import Format

_BATCH = 256
_MIN_HASHES = 3
_HASHES = re.compile("#+")
_EXISTING_SEPARATOR = re.compile(r"\s*(?:#{3,}|={3,}|-{3,}|[-=]+>)\s*$|\s*\n\s*$")
_NO_LETTER = re.compile(r"\W")


def add_separator(rows: Iterable[NumberedRow], format: Format, model: ModelFacts) -> NumberedFix | None:
    r"""Ends every prompt with `\n\n###\n\n`, or with more `#` if a prompt contains that.

    An existing separator that also occurs inside a prompt is replaced.
    """
    if format != "completion":
        return None
    found = _pointers_by_code(rows)
    suffix = common_suffix(prompt for prompt, _ in _pairs(rows))
    if NO_SEPARATOR not in found and not (suffix and _prompts_differ(rows) and _stands_inside(suffix, rows)):
        return None
    existing = _EXISTING_SEPARATOR.search(suffix)
    existing_length = len(existing.group()) if existing is not None else 0
    texts = (prompt[: len(prompt) - existing_length] for prompt, _ in _pairs(rows))
    separator = _unused_delimiter(texts, "\n\n", "\n\n")
    return _in_column("prompt", lambda text: text[: len(text) - existing_length] + separator)


def add_ending(rows: Iterable[NumberedRow], format: Format, model: ModelFacts) -> NumberedFix | None:
    """Ends every completion with ` ###`, or with more `#`. An empty one stays empty, and its check reports it."""
    if format != "completion" or NO_ENDING not in _pointers_by_code(rows):
        return None
    ending = _unused_delimiter((completion for _, completion in _pairs(rows)), " ", "")
    return _in_column("completion", lambda text: text + ending if text.strip() else text)


def strip_common_prefix(rows: Iterable[NumberedRow], format: Format, model: ModelFacts) -> NumberedFix | None:
    """Removes the common prefix of all prompts, or of all completions, to the end of a word if that is enough.

    Nothing is removed if a row would become empty. A completion keeps its leading space.
    """
    if format != "completion":
        return None
    found = _pointers_by_code(rows)
    prompt_cut = completion_cut = 0
    if PROMPT_PREFIX in found:
        prompt_cut = _prefix_length(rows, 0, MAX_PROMPT_PREFIX)
    if COMPLETION_PREFIX in found:
        completion_cut = _prefix_length(rows, 1, MAX_COMPLETION_PREFIX - 2)
    if not prompt_cut and not completion_cut:
        return None

    def stripped(line: int, row: Row) -> Row | Dropped:
        if not _is_pair(row):
            return row
        completion = row["completion"]
        if completion_cut:
            space = completion[0] if completion[0].isspace() and not completion[completion_cut].isspace() else ""
            completion = space + completion[completion_cut:]
        return {**row, "prompt": row["prompt"][prompt_cut:], "completion": completion}

    return stripped


def lowercase(rows: Iterable[NumberedRow], format: Format, model: ModelFacts) -> NumberedFix | None:
    """Converts a column to lower case if over a third of its letters are upper case."""
    if format != "completion":
        return None
    columns = [pointer[1:] for pointer in _pointers_by_code(rows).get(UPPER_CASE, ())]
    if not columns:
        return None

    def lowered(line: int, row: Row) -> Row | Dropped:
        return {**row, **{name: row[name].lower() for name in columns}} if _is_pair(row) else row

    return lowered


def common_suffix(texts: Iterable[str]) -> str:
    """The common suffix of all texts."""
    return _common(text[::-1] for text in texts)[::-1]


def _common(texts: Iterable[str]) -> str:
    shared: str | None = None
    for text in texts:
        if shared is None:
            shared = text
        elif not text.startswith(shared):
            pairs = zip(shared, text, strict=False)
            shared = shared[: next((at for at, (one, other) in enumerate(pairs) if one != other), len(text))]
    return shared or ""


def _is_pair(row: Row) -> bool:
    return isinstance(row.get("prompt"), str) and isinstance(row.get("completion"), str)


def _pairs(rows: Iterable[NumberedRow]) -> Iterator[tuple[str, str]]:
    return ((row["prompt"], row["completion"]) for _, row in rows if _is_pair(row))


def _pointers_by_code(rows: Iterable[NumberedRow]) -> dict[str, list[str]]:
    """The findings of the checks of a completion file: pointers by code."""
    check, rest = CompletionColumns(), iter(rows)
    while batch := list(islice(rest, _BATCH)):
        part = CompletionColumns()
        part.add([read_example(line, row, "completion") for line, row in batch])
        check.merge(part)
    found: dict[str, list[str]] = {}
    for each in check.finish():
        found.setdefault(each.code, []).append(each.hit.pointer)
    return found


def _prompts_differ(rows: Iterable[NumberedRow]) -> bool:
    """Whether the prompts differ; a separator cannot be found in identical prompts."""
    first = next((prompt for prompt, _ in _pairs(rows)), None)
    return any(prompt != first for prompt, _ in _pairs(rows))


def _stands_inside(suffix: str, rows: Iterable[NumberedRow]) -> bool:
    return any(prompt.find(suffix) < len(prompt) - len(suffix) for prompt, _ in _pairs(rows))


def _in_column(column: str, change: Callable[[str], str]) -> NumberedFix:
    def changed(line: int, row: Row) -> Row | Dropped:
        return {**row, column: change(row[column])} if _is_pair(row) else row

    return changed


def _unused_delimiter(texts: Iterable[str], before: str, after: str) -> str:
    """`###` between `before` and `after`; with more `#` than any text has in a row if a text contains that."""
    shortest = before + "#" * _MIN_HASHES + after
    longest, present = 0, False
    for text in texts:
        if (text + shortest).find(shortest) < len(text):
            present = True
        if "#" in text:
            longest = max(longest, max(map(len, _HASHES.findall(text))))
    return before + "#" * (longest + 1) + after if present else shortest


def _prefix_length(rows: Iterable[NumberedRow], column: int, keeps: int) -> int:
    """The number of characters of the common prefix to remove: to a word's end if at most `keeps` of them remain."""
    prefix = _common(pair[column] for pair in _pairs(rows))
    ends = [found.end() for found in _NO_LETTER.finditer(prefix)]
    cut = next((end for end in reversed(ends) if len(prefix) - end <= keeps), len(prefix))
    return cut if all(pair[column][cut:].strip() for pair in _pairs(rows)) else 0
