"""A preparation from beginning to end: read rows, make examples, fix them, split, write.

Rows stream from the reader through the row fixes into a scratch file; fixes of the whole file read that and write the
next one. After a fix its check finds nothing, and the fixes of completion files are repeated until none of them changes
anything. So preparing a prepared file again changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import BinaryIO

import msgspec

from service.catalogue.tokens import ModelFacts
from service.datasets.preparation.changes import ChangeLog
from service.datasets.preparation.fixes.completion_file import common_suffix
from service.datasets.preparation.fixing import Fixing
from service.datasets.preparation.inputs import Unused, notes_on_empty, notes_on_ignored
from service.datasets.preparation.mapping import EmptyCell, NonTextCell, prompt_of, with_system
from service.datasets.preparation.options import Options, ResolvedOptions, Target
from service.datasets.preparation.outcome import Input, Prepared
from service.datasets.preparation.plan import Plan, make_plan
from service.datasets.preparation.readers.reading import Chunks, Source
from service.datasets.preparation.readers.source import open_source
from service.datasets.preparation.refusals import PreparationRefused, Problems
from service.datasets.preparation.scratch import NumberedRow, Row, Rows, Scratch, Workspace, encode
from service.datasets.preparation.split import choose_validation
from service.datasets.preparation.tool_definitions import Shortening, inference_advice
from service.datasets.report_schema import Format
from service.datasets.shapes import CannotConvert, Joined, LeftOut, NoExample, NoText, Shape

SAMPLE_ROWS = 256
SAMPLE_BYTES = 32 << 20
_NAMED_UNUSED = 12
OPTION_CHANGES = {
    "system_prompt": "the system prompt of the options begins the example",
    "prompt_template": "the template of the options makes the prompt",
}
"""Changes that options make, by their names in the diff."""


class Outputs(msgspec.Struct, frozen=True):
    """The files to write. `validation` stays empty without a split."""

    training: BinaryIO
    validation: BinaryIO
    changes: BinaryIO


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
    log = ChangeLog(outputs.changes)
    problems = Problems(log, drop_unreadable="drop_unreadable" in options.fixes)
    source = open_source(chunks, filename=filename, options=options, log=log, problems=problems)
    sample = _sample(source)
    if not sample:
        problems.check(are_rows_left=False)
        if problems.rows_dropped:
            raise PreparationRefused(
                f"No row of the file can be read: drop_unreadable would drop all {problems.rows_dropped:,}. Correct "
                "them."
            )
        raise PreparationRefused("The file has no rows.")
    counted = _Counted(chain(sample, source.rows))
    plan = make_plan(source, sample, options, target)
    made = _Examples(counted, source, plan, options, log, problems, scratch)
    fixing = Fixing(plan.format, options.fixes, model, log, problems, made.unused, source.unit)
    fixed = fixing.rows(made)
    shortening = Shortening(options.tool_definitions, model, log) if options.tool_definitions != "keep" else None
    if shortening is not None:
        fixed = shortening.shortened(fixed, plan.format)
    workspace = Workspace(scratch, tick)
    rows = Rows(workspace, fixed)
    problems.check()
    rows = fixing.file(rows, workspace)
    problems.check()
    if not rows.count:
        why = _nothing_left(counted.count + problems.rows_dropped, log)
        raise PreparationRefused(" ".join([why, *source.notes, *notes_on_empty(made.empty, counted.count)]))
    validation, notes = _write(rows, plan.format, options, outputs)
    advice = _inference_notes(rows, plan.format, options)
    causes = notes_on_empty(made.empty, counted.count)
    read = _input(source, plan, made.unused)
    read_notes = [*source.notes, *notes_on_ignored(read, options)]
    notes = [*read_notes, *plan.notes, *causes, *_notes_on_unused(made.unused), *advice, *notes]
    saved = shortening.saved(line for line, _ in rows) if shortening is not None else None
    rows.close()
    return Prepared(
        options=ResolvedOptions(
            input_format=source.kind,
            encoding=source.encoding.value,
            target_format=plan.format,
            columns=plan.columns,
            guessed_columns=plan.guessed,
            system_prompt=options.system_prompt,
            prompt_template=plan.template,
            fixes=list(options.fixes),
            split=options.split,
            tool_definitions=options.tool_definitions,
        ),
        input=read,
        changes=dict(sorted(log.counts.items())),
        rows_in=counted.count + problems.rows_dropped,
        rows_added=made.added,
        rows_joined=made.joined,
        rows_dropped=dict(sorted(log.rows_dropped.items())),
        drop_reasons=dict(log.drop_reasons.most_common()),
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


class _Counted:
    """Counts rows while they are read."""

    def __init__(self, rows: Iterable[NumberedRow]) -> None:
        self.count = 0
        self._rows = rows

    def __iter__(self) -> Iterator[NumberedRow]:
        for row in self._rows:
            self.count += 1
            yield row


class _Examples:
    """The examples of the rows.

    `added` counts those beyond one for each row, `joined` the rows that became a part of another row's example,
    `unused` the values that are in none, and `empty` the dropped rows by the place that is empty."""

    def __init__(
        self,
        rows: Iterable[NumberedRow],
        source: Source,
        plan: Plan,
        options: Options,
        log: ChangeLog,
        problems: Problems,
        scratch: Scratch,
    ) -> None:
        self.added = self.joined = 0
        self.unused = Unused()
        self.empty: Counter[str] = Counter()
        self._rows = rows
        self._source = source
        self._plan = plan
        self._options = options
        self._log = log
        self._problems = problems
        self._scratch = scratch

    def __iter__(self) -> Iterator[NumberedRow]:
        """Convert the rows. The first conversion is recorded in the diff as an example of all."""
        conversion = {"json": "json_to_jsonl", "jsonl": None}.get(self._source.kind, "table_to_jsonl")
        if self._plan.shape is not None:
            conversion = "convert_shape"
        for line, row, examples in self._converted():
            self.added += max(0, len(examples) - 1)
            for example in examples:
                if conversion is not None:
                    before = None if example == row else encode(row).decode()
                    self._log.changed(conversion, line, before, encode(example).decode())
                    conversion = None
                if self._options.prompt_template is not None:
                    self._log.changed("prompt_template", line, None, prompt_of(example))
                yield line, self._with_system(line, example)

    def _converted(self) -> Iterator[tuple[int, Row, list[Row]]]:
        shape = self._plan.shape
        if shape is None or shape.join is None:
            for line, row in self._rows:
                yield line, row, self._made(line, row)
            return
        with self._scratch() as scratch:
            try:
                yield from self._joined(shape, shape.join(self._rows, scratch))
            except CannotConvert as error:
                raise PreparationRefused(f"{error}.") from None

    def _joined(self, shape: Shape, parts: Iterable[Joined | LeftOut]) -> Iterator[tuple[int, Row, list[Row]]]:
        for part in parts:
            if isinstance(part, Joined):
                self.joined += len(part.rows) - 1
                for _, row in part.rows:
                    self.unused.add_lost(row, [part.example], shape)
                line, row = part.rows[0]
                yield line, row, [part.example]
            elif part.fault:
                self._problems.unreadable(self._source.unit, part.line, part.row, part.reason, counted=True)
            else:
                self._log.dropped("convert_shape", part.line, part.row, part.reason)

    def _made(self, line: int, row: Row) -> list[Row]:
        """The examples of one row; none if it is dropped or a problem."""
        plan = self._plan
        try:
            examples = [row] if plan.make is None else plan.make(row)
        except (EmptyCell, NoText) as error:
            if "drop_empty_messages" in self._options.fixes:
                self.empty[str(error)] += 1
                self._log.dropped("drop_empty_messages", line, row, f"{str(error)[0].upper()}{str(error)[1:]}.")
            else:
                place = f"{self._source.unit} {line}"
                self._problems.add(place, f"{error}; the fix drop_empty_messages leaves such rows out")
            return []
        except NoExample as error:
            self._log.dropped("convert_shape", line, row, str(error))
            return []
        except (NonTextCell, CannotConvert) as error:
            self._problems.unreadable(self._source.unit, line, row, str(error), counted=True)
            return []
        if plan.shape is not None:
            self.unused.add_lost(row, examples, plan.shape)
        elif plan.used is not None:
            self.unused.add_columns(row, plan.used)
        return examples

    def _with_system(self, line: int, example: Row) -> Row:
        prompt = self._options.system_prompt
        if prompt is None:
            return example
        made = with_system(example, prompt)
        if made is not example:
            self._log.changed("system_prompt", line, None, prompt)
        return made


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


def _input(source: Source, plan: Plan, unused: Unused) -> Input:
    return Input(
        format=source.kind,
        unit=source.unit,
        encoding=source.encoding,
        delimiter=source.delimiter,
        header=source.header,
        sheet=source.sheet,
        sheets_not_read=source.sheets_not_read,
        shape=plan.shape.name if plan.shape is not None else None,
        columns=source.columns or [],
        unused=dict(unused.counts),
    )


def _notes_on_unused(unused: Unused) -> Iterator[str]:
    """A sentence that names the columns or keys whose values are in no example."""
    if unused.counts:
        named = [
            f"`{place}` ({count:,} value{'s' if count > 1 else ''})"
            for place, count in unused.counts.most_common(_NAMED_UNUSED)
        ]
        more = len(unused.counts) - len(named)
        yield f"Not in the examples: {', '.join(named)}{f' and {more} more' if more > 0 else ''}."


def _nothing_left(rows_in: int, log: ChangeLog) -> str:
    dropped = ", ".join(f"{fix} {count:,}" for fix, count in log.rows_dropped.most_common())
    return f"No example is left of {rows_in:,} rows; dropped by {dropped or 'nothing'}."
