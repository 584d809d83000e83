"""Decides how the rows of an input become examples: as they are, from a known shape, or from columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from service.datasets.parsing.formats import file_format, row_format
from service.datasets.preparation.mapping import (
    Template,
    column_names,
    example_maker,
    guess_columns,
    guess_template,
    list_names,
)
from service.datasets.preparation.options import Columns, Options, Target
from service.datasets.preparation.readers.header import MAX_COLUMNS
from service.datasets.preparation.readers.reading import Source
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.preparation.scratch import NumberedRow, Row
from service.datasets.report_schema import Format
from service.datasets.shapes import SHAPES, CannotConvert, Shape, file_shape, shape_of

_EXAMPLE_FORMATS = ("chat", "preference", "reinforcement")
WITH_SYSTEM = ("chat", "preference")
"""The formats whose examples have a place for a system prompt."""

AS_COLUMNS = "none"
"""The value of the option `shape` with which rows of known shapes are read as columns."""


class Plan(msgspec.Struct, kw_only=True):
    """How rows become examples. Without `make` the rows are examples already.

    `columns` are those of the mapping, `guessed` the parts of it that the request left out, `template` the prompt's.
    `used` are the columns whose values are in the examples; it is None where that is measured row by row (`shape`).
    `notes` say what the conversion decides.
    """

    format: Format | None
    make: Callable[[Row], list[Row]] | None = None
    shape: Shape | None = None
    columns: Columns | None = None
    guessed: list[str] = []
    template: str | None = None
    used: frozenset[str] | None = None
    notes: list[str] = []


def make_plan(source: Source, sample: Sequence[NumberedRow], options: Options, target: Target) -> Plan:
    """The plan for an input whose first rows are `sample`. Raises `PreparationRefused` with the option at fault."""
    names = source.columns or column_names(sample)
    if len(names) > MAX_COLUMNS:
        raise PreparationRefused(
            f"The first {len(sample)} rows have {len(names):,} different keys; the limit is {MAX_COLUMNS:,}."
        )
    mapped = options.columns != Columns() or options.prompt_template is not None
    shape = _shape(source, sample, options, mapped, target)
    if shape is not None:
        return _from_shape(shape, source, options)
    detected = file_format(row for _, row in sample) if source.columns is None else None
    are_examples = detected in _EXAMPLE_FORMATS or (detected == "completion" and {"prompt", "completion"} <= set(names))
    requested = options.target_format
    if detected in _EXAMPLE_FORMATS and (mapped or requested not in (None, detected)):
        raise PreparationRefused(
            f"The rows are examples of format {detected} already, which is kept. Leave out the option "
            "`target_format`, the option `columns` and the option `prompt_template`.",
            code="conflicting_parameters",
            param="target_format" if requested not in (None, detected) else "columns",
        )
    if are_examples and not mapped and requested in (None, detected):
        if options.system_prompt is not None and detected not in WITH_SYSTEM:
            raise no_system_prompt(detected)
        return Plan(format=detected)
    return _from_columns(source, names, options, target)


def check_shape(name: str | None) -> None:
    """Raises `PreparationRefused` unless a name is that of a shape. None means that it is recognised."""
    if name is not None and name not in SHAPES and name != AS_COLUMNS:
        raise PreparationRefused(
            f"There is no shape {name[:64]!r}. Shapes: {', '.join(SHAPES)}; or {AS_COLUMNS!r}.",
            code="invalid_value",
            param="shape",
        )


def _shape(
    source: Source, sample: Sequence[NumberedRow], options: Options, mapped: bool, target: Target
) -> Shape | None:
    """The shape to convert. Columns and templates of the request take precedence over a guessed shape."""
    if options.shape == AS_COLUMNS:
        return None
    check_shape(options.shape)
    given = SHAPES[options.shape] if options.shape is not None else None
    rows = [row for _, row in sample]
    shape = given or (None if mapped or source.kind == "txt" else file_shape(rows, table=source.columns is not None))
    if shape is None:
        return None
    if not shape.converts:
        raise PreparationRefused(f"The rows have the shape of {shape.title} ({shape.keys}). {shape.advice}")
    if shape.by_columns:
        return None
    wanted = options.target_format or (target if target == "completion" else None)
    if wanted is not None and shape.format != wanted:
        if given is not None:
            raise PreparationRefused(
                f"Rows of the shape {shape.name} become {shape.format} examples, not {wanted}. Leave out the "
                "option `shape` or the option `target_format`.",
                code="conflicting_parameters",
                param="target_format",
            )
        return None
    if shape.resolve is None:
        return shape
    try:
        return SHAPES[shape.resolve(rows)]
    except CannotConvert as error:
        raise PreparationRefused(f"{error}.", param="shape") from None


def _from_shape(shape: Shape, source: Source, options: Options) -> Plan:
    if options.system_prompt is not None and shape.format not in WITH_SYSTEM:
        raise no_system_prompt(shape.format)
    in_table = source.columns is not None
    recognises = (shape.in_tables if in_table else None) or shape.recognises

    def make(row: Row) -> list[Row]:
        """Convert a row by its own shape: a file can mix rows of several that become the same format."""
        own = shape if recognises(row) else shape_of(row, table=in_table)
        if own is None and not in_table and row_format(row) == shape.format:
            return [row]
        if own is None or own.convert is None or own.format != shape.format:
            names = list_names(list(row))
            raise CannotConvert(f"the row does not have the shape of {shape.title} ({shape.keys}); it has {names}")
        return own.convert(row)

    return Plan(
        format=shape.format,
        make=make if shape.join is None else None,
        shape=shape,
        notes=[shape.note] if shape.note else [],
    )


def _from_columns(source: Source, names: list[str], options: Options, target: Target) -> Plan:
    requested = options.target_format
    if source.kind == "txt" and options.prompt_template is None and requested is None:
        target = "completion"
    format = requested or target
    if format == "completion" and options.system_prompt is not None:
        raise no_system_prompt("completion")
    text = options.prompt_template
    if text is None and options.columns.prompt is None:
        text = guess_template(names)
    template = Template(text) if text is not None else None
    columns, guessed = _guessed(source, names, options.columns, template)
    if format == "chat" and columns.prompt is None and source.delimiter is not None and template is None:
        raise PreparationRefused(
            f"The table has one column, {list_names(names)}. If its rows have several cells, give the option "
            "`delimiter`; if they are answers without questions, give the option `prompt_template`, or set the option "
            "`target_format` to completion.",
            code="columns_not_guessed",
            param="delimiter",
        )
    if format == "chat" and columns.prompt is None and template is None:
        raise PreparationRefused(
            "The file holds answers without questions. Give the option `prompt_template`, or set the option "
            "`target_format` to completion.",
            code="columns_not_guessed",
            param="prompt_template",
        )
    if text is not None and options.prompt_template is None:
        guessed.append("prompt_template")
    used = {columns.answer, columns.prompt, *(template.names if template is not None else ())}
    if format == "chat":
        used.add(columns.system)
    make_one = example_maker(columns, target=format, template=template)
    return Plan(
        format=format,
        make=lambda row: [make_one(row)],
        columns=columns,
        guessed=guessed,
        template=text,
        used=frozenset(name for name in used if name is not None),
    )


def _guessed(source: Source, names: list[str], given: Columns, template: Template | None) -> tuple[Columns, list[str]]:
    try:
        return guess_columns(names, given, template)
    except PreparationRefused as error:
        if source.header is None or source.header.certainty in ("given", "certain") or source.header.value == "false":
            raise
        advice = "If the first row is an example and not the names, set the option `header` to false."
        raise PreparationRefused(f"{error.message} {advice}", code=error.code, param=error.param) from None


def no_system_prompt(format: Format | None) -> PreparationRefused:
    """The refusal of a system prompt for a format without system messages."""
    return PreparationRefused(
        f"A {format} example has no place for a system prompt; leave it out.",
        code="conflicting_parameters",
        param="system_prompt",
    )
