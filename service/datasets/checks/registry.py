"""The registry of dataset checks. Each check is declared once, next to the code that runs it.

A check is a `Check` value. The decorators below create it from a function and its docstring, which is the text in
`docs/checks.md`. Importing a module of this package registers its checks, and `service.datasets.checks` imports all
modules, so a new check touches one file.

The scope of a check says where it runs:

- `line`: while a line is read and decoded. Declared with `declare`; found by `parsing` and `report`.
- `example`: a pure function of one decoded row.
- `text`: a pure function of one text of a row, called only if the text's row matches the check's pattern.
- `answer`: a pure function of one trained text, called only if the text passes the check's prefilter.
- `pair`: a comparison of a training file with a validation file. Found by `leakage`.
- `dataset`: a class that receives every example in batches, whose instances can be merged, and that returns its
  findings at the end.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from service.datasets.fixes import FIXES
from service.datasets.parsing.formats import Example
from service.datasets.report_schema import Format, Severity


class Hit(NamedTuple):
    """One result of a check in a row: a JSON pointer, the value to excerpt, the message, and the position in a text."""

    pointer: str
    value: object
    message: str
    at: int = 0


class LocatedHit(NamedTuple):
    """One result of a dataset check: the check's code, the 1-based line, and the hit."""

    code: str
    line: int
    hit: Hit


class DatasetCheck(Protocol):
    """A check of a whole file. It receives all examples in batches and returns its findings at the end.

    Each batch is added to a new instance, possibly in another process, and the instances are merged in the order of the
    file. So a limit that depends on earlier examples belongs in `merge`; `add` may only limit by an example's line.
    Memory must be bounded.
    """

    def add(self, examples: Sequence[Example]) -> None:
        """Records a batch: some hundred examples, or a few long ones."""

    def merge(self, later: Any) -> None:
        """Add the records of another instance, which was given the examples that follow those of this one."""

    def finish(self) -> Iterable[LocatedHit]:
        """Returns the findings; those of one code in the order of lines."""

    def notes(self) -> Iterable[str]:
        """Sentences about what the findings omit (a sample, a cap); empty if they are complete."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One check: its stable code, its severity, its section and text in the documentation, and how it runs.

    `needs` lists the `formats.traits` of which a row must have one for the check to run (empty: it always runs).
    `pattern` and `prefilter` skip texts in which the check cannot find anything; `pattern_for_re` is what `re` searches
    instead of `pattern`, if it is faster at that. `on_row_of` gets the file's format.
    """

    code: str
    severity: Severity
    section: str
    doc: str
    scope: str
    formats: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    fix: str | None = None
    pattern: bytes | None = None
    pattern_for_re: bytes | None = None
    prefilter: Callable[[str], object] | None = None
    on_row: Callable[[dict[str, Any]], Iterable[Hit]] | None = None
    on_row_of: Callable[[dict[str, Any], Format], Iterator[Hit]] | None = None
    on_text: Callable[[str], Iterable[Hit]] | None = None


CHECKS: dict[str, Check] = {}
DATASET_CHECKS: list[tuple[frozenset[str], Callable[[], DatasetCheck]]] = []

ALL_FORMATS: tuple[Format, ...] = ("chat", "completion", "preference", "reinforcement")
RowFunction = Callable[[dict[str, Any]], Iterator[Hit]]
FormatFunction = Callable[[dict[str, Any], Format], Iterator[Hit]]
TextFunction = Callable[[str], Iterator[Hit]]
Dataset = TypeVar("Dataset", bound=type)


def declare(
    code: str, severity: Severity, section: str, doc: str, *, fix: str | None = None, scope: str = "line"
) -> str:
    """Registers a check whose findings come from other code, and returns its code.

    A check of the whole file (scope `dataset`) cannot be an error, because lines with errors are counted while they are
    read. Raises ValueError for such a check, and for a code that is already registered.
    """
    if scope == "dataset" and severity == "error":
        raise ValueError(f"{code}: a check of the whole file cannot be an error of a line")
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
    """Registers a function of one row. It is called only for rows that have one of the `formats.traits` in `needs`."""

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


def format_check(
    code: str, severity: Severity, section: str, *, formats: Iterable[Format], fix: str | None = None
) -> Callable[[FormatFunction], FormatFunction]:
    """Registers a function of one row and of the format of its file."""

    def register(function: FormatFunction) -> FormatFunction:
        _register(
            Check(
                code=code,
                severity=severity,
                section=section,
                doc=inspect.getdoc(function) or "",
                scope="example",
                formats=frozenset(formats),
                fix=fix,
                on_row_of=function,
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
    pattern_for_re: bytes | None = None,
    fix: str | None = None,
) -> Callable[[TextFunction], TextFunction]:
    """Registers a function of one text. It is called only if `pattern` matches in the UTF-8 bytes of the text's row.

    The pattern is searched in many rows at once by `pattern_search.Search`. It must not match line breaks, tabs, quotes
    and backslashes, because these are escaped in the file. `pattern_for_re` matches in the same rows, and is used where
    `re` searches them.
    """
    return _on_text(code, severity, section, fix, scope="text", pattern=pattern, pattern_for_re=pattern_for_re)


def answer_check(
    code: str,
    severity: Severity,
    section: str,
    *,
    prefilter: Callable[[str], object] | None = None,
    fix: str | None = None,
) -> Callable[[TextFunction], TextFunction]:
    """Registers a function of one non-empty trained text. It is called only if `prefilter`, a fast test, is true."""
    return _on_text(code, severity, section, fix, scope="answer", prefilter=prefilter)


def dataset_check(
    *, formats: Iterable[Format] = ALL_FORMATS, slow_to_finish: bool = False
) -> Callable[[Dataset], Dataset]:
    """Registers a class. The codes of its findings are declared next to it with `declare(..., scope="dataset")`.

    Classes that are `slow_to_finish` come first, because the checks are finished in this order in several processes.
    """

    def register(make: Dataset) -> Dataset:
        DATASET_CHECKS.insert(0 if slow_to_finish else len(DATASET_CHECKS), (frozenset(formats), make))
        return make

    return register


def row_checks(format: Format) -> list[Check]:
    """The checks of scope `example` for a format, in order of registration, each with `on_row`."""
    found = [check for check in CHECKS.values() if check.scope == "example" and format in check.formats]
    return [check if check.on_row_of is None else _for_format(check, check.on_row_of, format) for check in found]


def _for_format(check: Check, find: FormatFunction, format: Format) -> Check:
    return msgspec.structs.replace(check, on_row=lambda row: find(row, format))


def _on_text(
    code: str,
    severity: Severity,
    section: str,
    fix: str | None,
    *,
    scope: str,
    pattern: bytes | None = None,
    pattern_for_re: bytes | None = None,
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
                pattern_for_re=pattern_for_re,
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
