"""A preparation from beginning to end: read rows, make examples, fix them, split, write.

Rows stream from the reader through the row fixes into a scratch file; fixes of the whole file read that and write the
next one. After a fix its check finds nothing, and the fixes of completion files are repeated until none of them changes
anything. So preparing a prepared file again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import BinaryIO

import msgspec

from service.catalogue.tokens import ModelFacts
from service.datasets.parsing.formats import file_format, same_format
from service.datasets.preparation.changes import ChangeLog, Dropped
from service.datasets.preparation.fixes.completion_file import common_suffix
from service.datasets.preparation.fixes.kinds import NumberedFix
from service.datasets.preparation.fixes.registry import FILE_FIXES, ROW_FIXES
from service.datasets.preparation.mapping import (
    EmptyCell,
    NonTextCell,
    Template,
    column_names,
    example_maker,
    guess_columns,
    guess_template,
    with_system,
)
from service.datasets.preparation.options import Columns, Options, ResolvedOptions, Target
from service.datasets.preparation.readers.reading import Chunks, Source
from service.datasets.preparation.readers.source import open_source
from service.datasets.preparation.readers.table import MAX_COLUMNS
from service.datasets.preparation.refusals import PreparationRefused, Problems
from service.datasets.preparation.scratch import NumberedRow, Row, Rows, Scratch, Workspace, encode
from service.datasets.preparation.split import choose_validation
from service.datasets.preparation.tool_definitions import DefinitionTokens, Shortening, inference_advice
from service.datasets.report_schema import Format

SAMPLE_ROWS = 256
SAMPLE_BYTES = 32 << 20
_MAX_ROUNDS = 8
_EXAMPLE_FORMATS = ("chat", "preference", "reinforcement")


class Outputs(msgspec.Struct, frozen=True):
    """The files to write. `validation` stays empty without a split."""

    training: BinaryIO
    validation: BinaryIO
    changes: BinaryIO


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome. `changes` counts changes by fix; `rows_out` are the rows of both files.

    `definition_tokens` are the tokens that shorter definitions of functions save, if the options shorten them.
    """

    options: ResolvedOptions
    changes: dict[str, int]
    rows_in: int
    rows_out: int
    validation_rows: int
    notes: list[str]
    definition_tokens: DefinitionTokens | None = None


def prepare(
    chunks: Chunks,
    *,
    filename: str,
    options: Options,
    model: ModelFacts,
    target: Target,
    outputs: Outputs,
    scratch: Scratch,
    tick: Callable[[], None] = lambda: None,
) -> Prepared:
    """Prepares one input, which is only read. `target` is the format of tables unless the options name one.

    `tick` is called every few thousand rows while scratch files are read again, so that a caller can report progress.
    Raises `PreparationRefused` with the first rows at fault, or with the option.
    """
    log, problems = ChangeLog(outputs.changes), Problems()
    source = open_source(chunks, filename=filename, fixes=frozenset(options.fixes), log=log, problems=problems)
    sample = _sample(source)
    if not sample:
        problems.check()
        raise PreparationRefused("The file has no rows.")
    counted = _CountedRows(chain(sample, source.rows))
    plan = _plan(source, sample, options, target)
    examples = _examples(counted, source, plan, options, log, problems)
    fixed = _apply_row_fixes(examples, plan.format, options.fixes, log)
    shortening = Shortening(options.tool_definitions, model, log) if options.tool_definitions != "keep" else None
    if shortening is not None:
        fixed = shortening.shortened(fixed, plan.format)
    workspace = Workspace(scratch, tick)
    rows = Rows(workspace, fixed)
    problems.check()
    rows = _apply_file_fixes(rows, plan.format, options.fixes, model, log, workspace)
    if not rows.count:
        raise PreparationRefused(_nothing_left(counted.count, log))
    validation, notes = _write(rows, plan.format, options, outputs)
    notes = [*_inference_notes(rows, plan.format, options), *notes]
    saved = shortening.saved(line for line, _ in rows) if shortening is not None else None
    rows.close()
    return Prepared(
        options=ResolvedOptions(
            input_format=source.kind,
            encoding=source.encoding,
            target_format=plan.format,
            columns=plan.columns,
            guessed_columns=plan.guessed,
            system_prompt=options.system_prompt,
            prompt_template=plan.template,
            fixes=list(options.fixes),
            split=options.split,
            tool_definitions=options.tool_definitions,
        ),
        changes=dict(sorted(log.counts.items())),
        rows_in=counted.count,
        rows_out=rows.count,
        validation_rows=validation,
        notes=notes,
        definition_tokens=saved,
    )


def _sample(source: Source) -> list[NumberedRow]:
    """The first rows, as far as memory allows."""
    sample: list[NumberedRow] = []
    size_bytes = 0
    for number, row in islice(source.rows, SAMPLE_ROWS):
        sample.append((number, row))
        size_bytes += len(encode(row))
        if size_bytes > SAMPLE_BYTES:
            break
    return sample


class _Plan(msgspec.Struct, kw_only=True):
    """How rows become examples. Without `make` the rows are examples already."""

    format: Format | None
    make: Callable[[Row], Row] | None = None
    columns: Columns | None = None
    guessed: list[str] = []
    template: str | None = None


class _CountedRows:
    """Counts the rows while they are read."""

    def __init__(self, rows: Iterable[NumberedRow]) -> None:
        self.count = 0
        self._rows = rows

    def __iter__(self) -> Iterator[NumberedRow]:
        for row in self._rows:
            self.count += 1
            yield row


def _plan(source: Source, sample: list[NumberedRow], options: Options, target: Target) -> _Plan:
    names = source.columns or column_names(sample)
    if len(names) > MAX_COLUMNS:
        raise PreparationRefused(
            f"The first {len(sample)} rows have {len(names):,} different keys; the limit is {MAX_COLUMNS:,}."
        )
    detected = file_format(row for _, row in sample) if source.columns is None else None
    are_examples = detected in _EXAMPLE_FORMATS or (detected == "completion" and {"prompt", "completion"} <= set(names))
    mapped = options.columns != Columns() or options.prompt_template is not None
    requested = options.target_format
    if detected in _EXAMPLE_FORMATS and (mapped or requested not in (None, detected)):
        raise PreparationRefused(
            f"The rows are examples of format {detected} already, which is kept; leave out target_format, columns and "
            "prompt_template.",
            code="conflicting_parameters",
            param="target_format" if requested not in (None, detected) else "columns",
        )
    if are_examples and not mapped and requested in (None, detected):
        if options.system_prompt is not None and detected != "chat":
            raise _no_system_prompt(detected)
        system = options.system_prompt
        return _Plan(format=detected, make=(lambda row: with_system(row, system)) if system is not None else None)
    if source.kind == "txt" and options.prompt_template is None and requested is None:
        target = "completion"
    format = requested or target
    if format == "completion" and options.system_prompt is not None:
        raise _no_system_prompt("completion")
    text = options.prompt_template
    if text is None and options.columns.prompt is None:
        text = guess_template(names)
    template = Template(text) if text is not None else None
    columns, guessed = guess_columns(names, options.columns, template)
    if format == "chat" and columns.prompt is None and template is None:
        raise PreparationRefused(
            "The file holds answers without questions. Give prompt_template, or target_format completion.",
            code="columns_not_guessed",
            param="prompt_template",
        )
    if text is not None and options.prompt_template is None:
        guessed.append("prompt_template")
    make = example_maker(columns, target=format, system_prompt=options.system_prompt, template=template)
    return _Plan(format=format, make=make, columns=columns, guessed=guessed, template=text)


def _no_system_prompt(format: Format | None) -> PreparationRefused:
    return PreparationRefused(
        f"A {format} example has no place for a system prompt; leave it out.",
        code="conflicting_parameters",
        param="system_prompt",
    )


def _examples(
    rows: Iterable[NumberedRow], source: Source, plan: _Plan, options: Options, log: ChangeLog, problems: Problems
) -> Iterator[NumberedRow]:
    conversion = {"json": "json_to_jsonl", "jsonl": None}.get(source.kind, "table_to_jsonl")
    for line, row in rows:
        example = row
        if plan.make is not None:
            try:
                example = plan.make(row)
            except EmptyCell as error:
                if "drop_empty_messages" in options.fixes:
                    log.dropped("drop_empty_messages", line, row, f"{str(error)[0].upper()}{str(error)[1:]}.")
                else:
                    problems.add(f"{source.unit} {line}", f"{error}; the fix drop_empty_messages leaves such rows out")
                continue
            except NonTextCell as error:
                problems.add(f"{source.unit} {line}", str(error))
                continue
        if conversion is not None:  # every row is converted; the first one is recorded as an example
            log.changed(conversion, line, None if example == row else encode(row).decode(), encode(example).decode())
            conversion = None
        yield line, example


def _apply_row_fixes(
    rows: Iterable[NumberedRow], format: Format | None, fixes: Iterable[str], log: ChangeLog
) -> Iterator[NumberedRow]:
    """The rows after the chosen row fixes, which are applied until none of them changes anything."""
    chosen = [(name, fix) for name, fix in ROW_FIXES.items() if name in fixes]
    if format is None:
        yield from rows
        return
    for line, row in rows:
        fixed: Row | Dropped = row
        changed = same_format(row, format)
        while changed and not isinstance(fixed, Dropped):
            changed = False
            for name, fix in chosen:
                before: Row = fixed
                fixed = fix(before, format)
                if isinstance(fixed, Dropped):
                    log.dropped(name, line, before, fixed.reason)
                    break
                if fixed is not before and fixed != before:
                    log.changed(name, line, before, fixed)
                    changed = True
        if not isinstance(fixed, Dropped):
            yield line, fixed


def _apply_file_fixes(
    rows: Rows, format: Format | None, fixes: Iterable[str], model: ModelFacts, log: ChangeLog, workspace: Workspace
) -> Rows:
    """Apply the chosen fixes of whole files and return the rows.

    For completion files they are repeated while they change something, in at most `_MAX_ROUNDS` rounds."""
    if format is None:
        return rows
    chosen = [(name, fix) for name, fix in FILE_FIXES.items() if name in fixes]
    for _ in range(_MAX_ROUNDS if format == "completion" else 1):
        before = log.counts.total()
        for name, make_fix in chosen:
            fix = make_fix(rows, format, model)
            if fix is not None:
                rows = _replaced(rows, Rows(workspace, _apply_file_fix(rows, format, name, fix, log)))
        if log.counts.total() == before:
            break
        if format == "completion":
            rows = _replaced(rows, Rows(workspace, _apply_row_fixes(rows, format, fixes, log)))
    return rows


def _apply_file_fix(rows: Rows, format: Format, name: str, fix: NumberedFix, log: ChangeLog) -> Iterator[NumberedRow]:
    for line, row in rows:
        fixed = fix(line, row) if same_format(row, format) else row
        if isinstance(fixed, Dropped):
            log.dropped(name, line, row, fixed.reason)
            continue
        if fixed != row:
            log.changed(name, line, row, fixed)
        yield line, fixed


def _replaced(old: Rows, new: Rows) -> Rows:
    old.close()
    return new


def _write(rows: Rows, format: Format | None, options: Options, outputs: Outputs) -> tuple[int, list[str]]:
    """Writes both files in the order of the input. Returns the number of validation rows, and notes."""
    validation: frozenset[int] = frozenset()
    notes: list[str] = []
    if options.split is not None:
        validation, notes = choose_validation(rows, format, options.split)
    for place, (_, row) in enumerate(rows):
        out = outputs.validation if place in validation else outputs.training
        out.write(encode(row) + b"\n")
    return len(validation), notes


def _inference_notes(rows: Rows, format: Format | None, options: Options) -> Iterator[str]:
    """Advice for inference, given what was added to the examples or left out of them."""
    if (advice := inference_advice(options.tool_definitions)) is not None:
        yield advice
    if format != "completion":
        return
    for name, fix, text in (
        ("prompt", "add_separator", "Prompts end with {}: end each with it at inference too."),
        ("completion", "add_ending", "Completions end with {}: ask with it as `stop`."),
    ):
        ending = common_suffix(row[name] for _, row in rows if isinstance(row.get(name), str))
        if fix in options.fixes and "###" in ending:
            yield text.format(repr(ending))


def _nothing_left(rows_in: int, log: ChangeLog) -> str:
    dropped = ", ".join(f"{fix} {count:,}" for fix, count in log.counts.most_common() if fix.startswith("drop_"))
    return f"No example is left of {rows_in:,} rows; dropped by {dropped or 'nothing'}."
