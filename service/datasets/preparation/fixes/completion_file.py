"""Fixes of a completion file as a whole: separators, endings, common prefixes, upper case.

Source of the rules: OpenAI's retired `fine_tunes.prepare_data` tool. Each acts only where its check speaks, and asks
that check itself. Separator and ending are `###` with white space around it, and with more `#` where a text has that
already; they have no letters, so that they neither look like words nor change the case of a file.
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
from service.datasets.preparation.scratch import Numbered, Row
from service.datasets.report_schema import Format

_BATCH = 256
_LEAST_MARKS = 3
_MARKS = re.compile("#+")
_OLD_SEPARATOR = re.compile(r"\s*(?:#{3,}|={3,}|-{3,}|[-=]+>)\s*$|\s*\n\s*$")
_NO_LETTER = re.compile(r"\W")


def add_separator(rows: Iterable[Numbered], format: Format, model: ModelFacts) -> NumberedFix | None:
    r"""Ends every prompt with `\n\n###\n\n`, or with more `#` where a prompt has that inside.

    A separator that is there already and stands inside a prompt as well is replaced.
    """
    if format != "completion":
        return None
    found = _found(rows)
    suffix = common_suffix(prompt for prompt, _ in _pairs(rows))
    if NO_SEPARATOR not in found and not (suffix and _differ(rows) and _stands_inside(suffix, rows)):
        return None
    old_one = _OLD_SEPARATOR.search(suffix)
    old = len(old_one.group()) if old_one is not None else 0
    texts = (prompt[: len(prompt) - old] for prompt, _ in _pairs(rows))
    separator = _absent(texts, "\n\n", "\n\n")
    return _on("prompt", lambda text: text[: len(text) - old] + separator)


def add_ending(rows: Iterable[Numbered], format: Format, model: ModelFacts) -> NumberedFix | None:
    """Ends every completion with ` ###`, or with more `#`; an empty one stays empty, for its check to name."""
    if format != "completion" or NO_ENDING not in _found(rows):
        return None
    ending = _absent((completion for _, completion in _pairs(rows)), " ", "")
    return _on("completion", lambda text: text + ending if text.strip() else text)


def strip_common_prefix(rows: Iterable[Numbered], format: Format, model: ModelFacts) -> NumberedFix | None:
    """Removes what all prompts, or all completions, start with, up to a word's end where that is enough.

    Nothing is removed where nothing would be left of a row. A completion keeps its leading space.
    """
    if format != "completion":
        return None
    found = _found(rows)
    prompt_cut = completion_cut = 0
    if PROMPT_PREFIX in found:
        prompt_cut = _cut(rows, 0, MAX_PROMPT_PREFIX)
    if COMPLETION_PREFIX in found:
        completion_cut = _cut(rows, 1, MAX_COMPLETION_PREFIX - 2)
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


def lowercase(rows: Iterable[Numbered], format: Format, model: ModelFacts) -> NumberedFix | None:
    """Writes a column in lower case of which over a third of the letters are upper case."""
    if format != "completion":
        return None
    columns = [pointer[1:] for pointer in _found(rows).get(UPPER_CASE, ())]
    if not columns:
        return None

    def lowered(line: int, row: Row) -> Row | Dropped:
        return {**row, **{name: row[name].lower() for name in columns}} if _is_pair(row) else row

    return lowered


def common_suffix(texts: Iterable[str]) -> str:
    """What all texts end with."""
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


def _pairs(rows: Iterable[Numbered]) -> Iterator[tuple[str, str]]:
    return ((row["prompt"], row["completion"]) for _, row in rows if _is_pair(row))


def _found(rows: Iterable[Numbered]) -> dict[str, list[str]]:
    """What the checks of a completion file find: pointers by code."""
    check, rest = CompletionColumns(), iter(rows)
    while batch := list(islice(rest, _BATCH)):
        part = CompletionColumns()
        part.add([read_example(line, row, "completion") for line, row in batch])
        check.merge(part)
    found: dict[str, list[str]] = {}
    for each in check.finish():
        found.setdefault(each.code, []).append(each.hit.pointer)
    return found


def _differ(rows: Iterable[Numbered]) -> bool:
    """Whether the prompts are not all the same; those have no separator to look for."""
    first = next((prompt for prompt, _ in _pairs(rows)), None)
    return any(prompt != first for prompt, _ in _pairs(rows))


def _stands_inside(suffix: str, rows: Iterable[Numbered]) -> bool:
    return any(prompt.find(suffix) < len(prompt) - len(suffix) for prompt, _ in _pairs(rows))


def _on(column: str, change: Callable[[str], str]) -> NumberedFix:
    def changed(line: int, row: Row) -> Row | Dropped:
        return {**row, column: change(row[column])} if _is_pair(row) else row

    return changed


def _absent(texts: Iterable[str], before: str, after: str) -> str:
    """`###` between `before` and `after`, with more `#` than any text has in a row if one has `###` so."""
    plain = before + "#" * _LEAST_MARKS + after
    longest, present = 0, False
    for text in texts:
        if (text + plain).find(plain) < len(text):
            present = True
        if "#" in text:
            longest = max(longest, max(map(len, _MARKS.findall(text))))
    return before + "#" * (longest + 1) + after if present else plain


def _cut(rows: Iterable[Numbered], column: int, keeps: int) -> int:
    """How many characters of the common prefix to remove: to a word's end if at most `keeps` are left of it."""
    prefix = _common(pair[column] for pair in _pairs(rows))
    ends = [found.end() for found in _NO_LETTER.finditer(prefix)]
    cut = next((end for end in reversed(ends) if len(prefix) - end <= keeps), len(prefix))
    return cut if all(pair[column][cut:].strip() for pair in _pairs(rows)) else 0
