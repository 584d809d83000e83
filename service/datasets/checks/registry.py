"""The registry: every dataset check, declared once, beside the code that runs it.

A check is a `Check` value. The decorators below make one from a function and its docstring, which is the text that
`docs/checks.md` shows. A module of this package registers its checks by being imported, and `service.datasets.checks`
imports every module of the package: a new check touches one file.

Where a check runs is its scope:

- `line`: found while a line is read and decoded; declared with `declare`, found by `lines`, `decode` and `report`.
- `example`: a pure function of one decoded row.
- `text`: a pure function of one text of a row, called only where its pattern leaves a chance.
- `answer`: a pure function of one text that is trained, called only where a prefilter leaves a chance.
- `pair`: found by `leakage` between a training and a validation file.
- `dataset`: a class that is shown every example in batches, whose instances can be merged, and that speaks at the end.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from service.datasets.parsing.formats import Example
from service.datasets.report_schema import Format, Severity

FIXES = {
    "strip_bom": "removes the byte order mark",
    "normalize_newlines": "turns CRLF into LF",
    "drop_blank_lines": "removes blank lines",
    "reencode_utf8": "decodes the file with its real encoding and writes UTF-8",
    "strip_nul_bytes": "removes NUL bytes",
    "json_to_jsonl": "writes one object of a JSON array or of pretty-printed JSON per line",
    "table_to_jsonl": "turns a CSV, TSV or XLSX table into examples by a column mapping",
    "drop_unknown_keys": "removes keys that no upstream knows",
    "drop_empty_messages": "removes messages without content, and examples left without an answer",
    "drop_trailing_messages": "removes messages after the last answer",
    "functions_to_tools": "rewrites functions and function_call as tools and tool_calls",
    "drop_duplicates": "keeps the first of identical examples",
    "strip_filler_openings": "removes filler at the start of answers",
    "strip_invisible": "removes control and zero-width characters",
    "repair_mojibake": "undoes a wrong decoding; removes examples whose characters are lost",
    "add_separator": "ends every prompt with a common separator that stands nowhere else",
    "add_ending": "ends every completion with a common ending",
    "add_leading_space": "starts every completion with a space",
    "strip_common_prefix": "removes the prefix that all prompts or completions share",
    "lowercase": "writes the text in lower case",
    "drop_extra_columns": "keeps the format's own columns",
    "drop_long_rows": "removes rows over 10,000 characters",
    "mask_secrets": "replaces secrets by a placeholder",
    "mask_personal_data": "replaces personal data by placeholders",
    "drop_over_limit": "removes examples over the model's limit of tokens, whose end would be cut off",
}
"""Names that a dataset preparation can apply, each with what it does."""


class Hit(NamedTuple):
    """What a check found inside one row: where, what to show, what to say; `at` is the place inside a text."""

    pointer: str
    value: object
    message: str
    at: int = 0


class LocatedHit(NamedTuple):
    """What a dataset check found: a hit with its check's code and its 1-based line."""

    code: str
    line: int
    hit: Hit


class DatasetCheck(Protocol):
    """Shown every example, in order, in batches; memory bounded; says at the end what it found.

    Batches are seen by fresh instances, perhaps in other processes, and merged into one in their order. So a bound
    that depends on what came before belongs into `merge`; `see` may bound by an example's line.
    """

    def add(self, examples: Sequence[Example]) -> None:
        """Takes note of a batch: some hundred examples, or few long ones."""

    def merge(self, later: Any) -> None:
        """Adds what another instance of the same class saw of the examples that follow."""

    def finish(self) -> Iterable[LocatedHit]:
        """What was found, by code in the order of lines."""

    def notes(self) -> Iterable[str]:
        """What the findings leave out (a sample, a cap), in words; nothing where they are complete."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check: its stable `code`, how bad it is, where it belongs, and the text of its documentation."""

    code: str
    severity: Severity
    section: str
    doc: str
    scope: str
    formats: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    fix: str | None = None
    pattern: bytes | None = None
    prefilter: Callable[[str], object] | None = None
    on_row: Callable[[dict[str, Any]], Iterable[Hit]] | None = None
    on_text: Callable[[str], Iterable[Hit]] | None = None


CHECKS: dict[str, Check] = {}
DATASET_CHECKS: list[tuple[frozenset[str], Callable[[], DatasetCheck]]] = []

ALL_FORMATS: tuple[Format, ...] = ("chat", "completion", "preference", "reinforcement")
RowFunction = Callable[[dict[str, Any]], Iterator[Hit]]
TextFunction = Callable[[str], Iterator[Hit]]
Dataset = TypeVar("Dataset", bound=type)


def declare(
    code: str, severity: Severity, section: str, doc: str, *, fix: str | None = None, scope: str = "line"
) -> str:
    """Registers a check that is found elsewhere, and returns its code.

    One of the whole file (`dataset`) is no error: which lines have errors is counted as they are read.
    """
    if scope == "dataset" and severity == "error":
        raise ValueError(f"{code}: what is found at the end is no error of a line")
    _register(Check(code=code, severity=severity, section=section, doc=doc, scope=scope, fix=fix))
    return code


def example_check(
    code: str,
    severity: Severity,
    section: str,
    *,
    formats: Iterable[Format],
    needs: Iterable[str] = (),
    fix: str | None = None,
) -> Callable[[RowFunction], RowFunction]:
    """Registers a function of one row, which finds nothing in a row with none of the `formats.traits` that it needs."""

    def register(function: RowFunction) -> RowFunction:
        _register(
            Check(
                code=code,
                severity=severity,
                section=section,
                doc=inspect.getdoc(function) or "",
                scope="example",
                formats=frozenset(formats),
                needs=frozenset(needs),
                fix=fix,
                on_row=function,
            )
        )
        return function

    return register


def text_check(
    code: str,
    severity: Severity,
    section: str,
    *,
    pattern: bytes,
    fix: str | None = None,
) -> Callable[[TextFunction], TextFunction]:
    """Registers a function of one text, which finds nothing in a text that, in UTF-8, has no match of `pattern`.

    The pattern is one for `search.Search`, looked for in many rows of the file at once. It matches no line breaks,
    tabs, quotes and backslashes, for these are escaped in the file.
    """
    return _on_text(code, severity, section, fix, scope="text", pattern=pattern)


def answer_check(
    code: str,
    severity: Severity,
    section: str,
    *,
    prefilter: Callable[[str], object] | None = None,
    fix: str | None = None,
) -> Callable[[TextFunction], TextFunction]:
    """Registers a function of one trained text that is not empty. It is called only where `prefilter`, which is to be
    quick, says that it may find something.
    """
    return _on_text(code, severity, section, fix, scope="answer", prefilter=prefilter)


def dataset_check(
    *, formats: Iterable[Format] = ALL_FORMATS, slow_to_finish: bool = False
) -> Callable[[Dataset], Dataset]:
    """Registers a class; the codes it speaks are declared beside it with `declare(..., scope="dataset")`.

    The slow ones stand first: they are finished in this order, in several processes.
    """

    def register(make: Dataset) -> Dataset:
        DATASET_CHECKS.insert(0 if slow_to_finish else len(DATASET_CHECKS), (frozenset(formats), make))
        return make

    return register


def row_checks(format: Format) -> list[Check]:
    """The checks of scope `example` for a format, in the order of their registration."""
    return [check for check in CHECKS.values() if check.on_row is not None and format in check.formats]


def _on_text(
    code: str,
    severity: Severity,
    section: str,
    fix: str | None,
    *,
    scope: str,
    pattern: bytes | None = None,
    prefilter: Callable[[str], object] | None = None,
) -> Callable[[TextFunction], TextFunction]:
    def register(function: TextFunction) -> TextFunction:
        _register(
            Check(
                code=code,
                severity=severity,
                section=section,
                doc=inspect.getdoc(function) or "",
                scope=scope,
                formats=frozenset(ALL_FORMATS),
                fix=fix,
                pattern=pattern,
                prefilter=prefilter,
                on_text=function,
            )
        )
        return function

    return register


def _register(check: Check) -> None:
    if check.code in CHECKS:
        raise ValueError(f"two checks have the code {check.code!r}")
    if check.fix is not None and check.fix not in FIXES:
        raise ValueError(f"check {check.code!r} names an unknown fix {check.fix!r}")
    CHECKS[check.code] = check
