"""A preparation from beginning to end: read, make examples, mend, split, write.

Rows stream from the reader through the row fixes onto a scratch file; whole-file fixes look at it and write the next
one. Each fix leaves nothing that its check finds, and the fixes of completion files are repeated until none of them
finds anything more, so that preparing what was prepared changes nothing.
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
    Template,
    WrongCell,
    column_names,
    example_maker,
    guess_columns,
    guess_template,
    with_system,
)
from service.datasets.preparation.options import Columns, Options, Resolved, Target
from service.datasets.preparation.readers.reading import Chunks, Source
from service.datasets.preparation.readers.source import open_source
from service.datasets.preparation.refusals import PreparationRefused, Problems
from service.datasets.preparation.scratch import Desk, Numbered, Row, Rows, Scratch, encode
from service.datasets.preparation.split import choose_validation
from service.datasets.preparation.tool_definitions import DefinitionTokens, Shortening, inference_advice
from service.datasets.report_schema import Format

PEEKED_ROWS = 256
_MOST_ROUNDS = 8
_PASSED_THROUGH = ("chat", "preference", "reinforcement")


class Outputs(msgspec.Struct, frozen=True):
    """Where the results are written. `validation` stays empty without a split."""

    training: BinaryIO
    validation: BinaryIO
    changes: BinaryIO


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `changes` counts the records of the diff by fix; `rows_out` are those of both files.

    `definition_tokens` is what shortening the definitions of functions saved, where that was asked for.
    """

    options: Resolved
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
    """Prepares one input. `target` is what tables become where the options do not say; the input is only read.

    `tick` is called now and then while rows that were read are looked at again, so that a caller sees that it goes on.
    Raises `PreparationRefused` with the first rows at fault, or with the option.
    """
    log, problems = ChangeLog(outputs.changes), Problems()
    source = open_source(chunks, filename=filename, fixes=frozenset(options.fixes), log=log, problems=problems)
    first = list(islice(source.rows, PEEKED_ROWS))
    if not first:
        problems.check()
        raise PreparationRefused("The file has no rows.")
    counted = _Counted(chain(first, source.rows))
    plan = _plan(source, first, options, target)
    examples = _examples(counted, source, plan, options, log, problems)
    mended = _mended(examples, plan.format, options.fixes, log)
    shortening = Shortening(options.tool_definitions, model, log) if options.tool_definitions != "keep" else None
    if shortening is not None:
        mended = shortening.shortened(mended, plan.format)
    desk = Desk(scratch, tick)
    rows = Rows(desk, mended)
    problems.check()
    rows = _mend_whole(rows, plan.format, options.fixes, model, log, desk)
    if not rows.count:
        raise PreparationRefused(_nothing_left(counted.count, log))
    validation, notes = _write(rows, plan.format, options, outputs)
    notes = [*_advice(rows, plan.format, options), *notes]
    saved = shortening.saved(line for line, _ in rows) if shortening is not None else None
    rows.close()
    return Prepared(
        options=Resolved(
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


class _Plan(msgspec.Struct, kw_only=True):
    """How rows become examples. Without `make` they are examples already."""

    format: Format | None
    make: Callable[[Row], Row] | None = None
    columns: Columns | None = None
    guessed: list[str] = []
    template: str | None = None


class _Counted:
    """Counts what goes through it."""

    def __init__(self, rows: Iterable[Numbered]) -> None:
        self.count = 0
        self._rows = rows

    def __iter__(self) -> Iterator[Numbered]:
        for row in self._rows:
            self.count += 1
            yield row


def _plan(source: Source, first: list[Numbered], options: Options, target: Target) -> _Plan:
    names = source.columns or column_names(first)
    found = file_format(row for _, row in first) if source.columns is None else None
    whole = found in _PASSED_THROUGH or (found == "completion" and {"prompt", "completion"} <= set(names))
    mapped = options.columns != Columns() or options.prompt_template is not None
    wanted = options.target_format
    if found in _PASSED_THROUGH and (mapped or wanted not in (None, found)):
        raise PreparationRefused(
            f"The rows are examples of format {found} already, which is kept; leave out target_format, columns and "
            "prompt_template.",
            code="conflicting_parameters",
            param="target_format" if wanted not in (None, found) else "columns",
        )
    if whole and not mapped and wanted in (None, found):
        if options.system_prompt is not None and found != "chat":
            raise _no_system_prompt(found)
        system = options.system_prompt
        return _Plan(format=found, make=(lambda row: with_system(row, system)) if system is not None else None)
    if source.kind == "txt" and options.prompt_template is None and wanted is None:
        target = "completion"
    wanted = wanted or target
    if wanted == "completion" and options.system_prompt is not None:
        raise _no_system_prompt("completion")
    text = options.prompt_template
    if text is None and options.columns.prompt is None:
        text = guess_template(names)
    template = Template(text) if text is not None else None
    columns, guessed = guess_columns(names, options.columns, template)
    if wanted == "chat" and columns.prompt is None and template is None:
        raise PreparationRefused(
            "The file holds answers without questions. Give prompt_template, or target_format completion.",
            code="columns_not_guessed",
            param="prompt_template",
        )
    if text is not None and options.prompt_template is None:
        guessed.append("prompt_template")
    make = example_maker(columns, target=wanted, system_prompt=options.system_prompt, template=template)
    return _Plan(format=wanted, make=make, columns=columns, guessed=guessed, template=text)


def _no_system_prompt(format: Format | None) -> PreparationRefused:
    return PreparationRefused(
        f"A {format} example has no place for a system prompt; leave it out.",
        code="conflicting_parameters",
        param="system_prompt",
    )


def _examples(
    rows: Iterable[Numbered], source: Source, plan: _Plan, options: Options, log: ChangeLog, problems: Problems
) -> Iterator[Numbered]:
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
            except WrongCell as error:
                problems.add(f"{source.unit} {line}", str(error))
                continue
        if conversion is not None:  # every row is converted; the first shows how
            log.changed(conversion, line, None if example == row else encode(row).decode(), encode(example).decode())
            conversion = None
        yield line, example


def _mended(
    rows: Iterable[Numbered], format: Format | None, fixes: Iterable[str], log: ChangeLog
) -> Iterator[Numbered]:
    """The rows after the chosen row fixes, each applied until none changes anything."""
    chosen = [(name, fix) for name, fix in ROW_FIXES.items() if name in fixes]
    if format is None:
        yield from rows
        return
    for line, row in rows:
        mended: Row | Dropped = row
        changed = same_format(row, format)
        while changed and not isinstance(mended, Dropped):
            changed = False
            for name, fix in chosen:
                before: Row = mended
                mended = fix(before, format)
                if isinstance(mended, Dropped):
                    log.dropped(name, line, before, mended.reason)
                    break
                if mended is not before and mended != before:
                    log.changed(name, line, before, mended)
                    changed = True
        if not isinstance(mended, Dropped):
            yield line, mended


def _mend_whole(
    rows: Rows, format: Format | None, fixes: Iterable[str], model: ModelFacts, log: ChangeLog, desk: Desk
) -> Rows:
    """The rows after the chosen fixes of the whole file; a completion file's are repeated while they change it."""
    if format is None:
        return rows
    chosen = [(name, fix) for name, fix in FILE_FIXES.items() if name in fixes]
    for _ in range(_MOST_ROUNDS if format == "completion" else 1):
        before = log.counts.total()
        for name, look in chosen:
            fix = look(rows, format, model)
            if fix is not None:
                rows = _replaced(rows, Rows(desk, _fixed(rows, format, name, fix, log)))
        if log.counts.total() == before:
            break
        if format == "completion":
            rows = _replaced(rows, Rows(desk, _mended(rows, format, fixes, log)))
    return rows


def _fixed(rows: Rows, format: Format, name: str, fix: NumberedFix, log: ChangeLog) -> Iterator[Numbered]:
    for line, row in rows:
        mended = fix(line, row) if same_format(row, format) else row
        if isinstance(mended, Dropped):
            log.dropped(name, line, row, mended.reason)
            continue
        if mended != row:
            log.changed(name, line, row, mended)
        yield line, mended


def _replaced(old: Rows, new: Rows) -> Rows:
    old.close()
    return new


def _write(rows: Rows, format: Format | None, options: Options, outputs: Outputs) -> tuple[int, list[str]]:
    """Writes both files in the order of the input; how many rows are for validation, and notes."""
    held: frozenset[int] = frozenset()
    notes: list[str] = []
    if options.split is not None:
        held, notes = choose_validation(rows, format, options.split)
    for place, (_, row) in enumerate(rows):
        out = outputs.validation if place in held else outputs.training
        out.write(encode(row) + b"\n")
    return len(held), notes


def _advice(rows: Rows, format: Format | None, options: Options) -> Iterator[str]:
    """What to keep in mind at inference for what was added or left out."""
    if (told := inference_advice(options.tool_definitions)) is not None:
        yield told
    if format != "completion":
        return
    for name, fix, advice in (
        ("prompt", "add_separator", "Prompts end with {}: end each with it at inference too."),
        ("completion", "add_ending", "Completions end with {}: ask with it as `stop`."),
    ):
        ending = common_suffix(row[name] for _, row in rows if isinstance(row.get(name), str))
        if fix in options.fixes and "###" in ending:
            yield advice.format(repr(ending))


def _nothing_left(rows_in: int, log: ChangeLog) -> str:
    dropped = ", ".join(f"{fix} {count:,}" for fix, count in log.counts.most_common() if fix.startswith("drop_"))
    return f"No example is left of {rows_in:,} rows; dropped by {dropped or 'nothing'}."
