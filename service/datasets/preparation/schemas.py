"""Wire types of dataset preparations."""

from typing import Annotated, Literal

import msgspec

from service.database.tables import DatasetPreparation
from service.datasets.preparation.mapping import check_template
from service.datasets.preparation.options import (
    Columns,
    Options,
    Split,
    Target,
    ToolDefinitions,
    check_encoding,
    check_split,
    chosen_fixes,
)
from service.datasets.preparation.outcome import DefinitionTokens, Input, Prepared
from service.datasets.preparation.readers.dialect import given_delimiter
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.preparation.stored import stored_options, stored_outcome
from service.datasets.report_schema import Format
from service.errors import InvalidRequest
from service.http.wire_types import PageQuery, RequestModel, unix
from service.states import PreparationStatus

ColumnName = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=100_000)]
MAX_UNFINISHED_PROGRESS = 0.99
PASSES = 2
"""How often an input is read: once to detect its encoding, once for its rows."""


class ColumnsRequest(RequestModel, frozen=True, kw_only=True):
    """The names of the columns; a name that is left out is guessed."""

    prompt: ColumnName | None = None
    answer: ColumnName | None = None
    system: ColumnName | None = None


class SplitRequest(RequestModel, frozen=True, kw_only=True):
    """How many examples to hold back for validation: a share or a number."""

    validation_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    validation_examples: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)] = 0


class CreatePreparation(RequestModel, frozen=True, kw_only=True):
    """The body of a creation. `fixes` are names from `docs/checks.md`, or `safe` for all safe fixes, or `none`; `safe`
    may be among names, and `-` before a name leaves it out: `["safe", "mask_secrets", "-drop_duplicates"]`.

    `encoding`, `delimiter`, `header`, `sheet` and `shape` replace what is guessed from the file.
    """

    file: str
    model: str | None = None
    encoding: Label | None = None
    delimiter: Label | None = None
    header: bool | None = None
    sheet: ColumnName | None = None
    shape: Label | None = None
    target_format: Target | None = None
    columns: ColumnsRequest | None = None
    system_prompt: Text | None = None
    prompt_template: Text | None = None
    fixes: Annotated[list[str], msgspec.Meta(max_length=100)] | Annotated[str, msgspec.Meta(max_length=2_000)] = "safe"
    tool_definitions: ToolDefinitions = "keep"
    split: SplitRequest | None = None


class ListPreparations(PageQuery, frozen=True, kw_only=True):
    """The query of a list; `file` is the input or an output."""

    file: str | None = None


class PreparationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the request; after success with what was detected and guessed in their place.

    `columns` is null where the rows were examples already; `guessed_columns` names those that the request left out.
    """

    input_format: str | None
    encoding: str | None
    target_format: Format | None
    columns: Columns | None
    guessed_columns: list[str]
    system_prompt: str | None
    prompt_template: str | None
    fixes: list[str]
    tool_definitions: ToolDefinitions
    split: Split | None


class PreparationError(msgspec.Struct, frozen=True, kw_only=True):
    """Why the preparation failed: `message` names rows or columns, `param` the option at fault, if any."""

    code: str
    message: str
    param: str | None


class Preparation(msgspec.Struct, frozen=True, kw_only=True):
    """A preparation. `changes` counts by fix; `rows_out` are the rows of both files, `validation_rows` those held back.

    After success `input` says how the file was read, what was guessed and which values are in no example, and the rows
    add up: `rows_in` + `rows_added` = `rows_out` + `rows_joined` + all `rows_dropped`. `drop_reasons` counts the
    dropped rows by reason, with … for numbers.

    `notes` are advice for the use of the files, such as the stop sequence that the completions now end with;
    `definition_tokens` are the tokens that shorter definitions of functions save.
    """

    id: str
    object: Literal["dataset_preparation"] = "dataset_preparation"
    status: PreparationStatus
    progress: float
    input_file: str
    model: str
    options: PreparationOptions
    input: Input | None
    training_file: str | None
    validation_file: str | None
    changes: dict[str, int]
    rows_in: int | None
    rows_added: int | None
    rows_joined: int | None
    rows_dropped: dict[str, int]
    drop_reasons: dict[str, int]
    rows_out: int | None
    validation_rows: int | None
    definition_tokens: DefinitionTokens | None
    notes: list[str]
    error: PreparationError | None
    created_at: int
    finished_at: int | None


def read_options(body: CreatePreparation) -> Options:
    """The body's options, checked as far as that is possible without the file. Raises `InvalidRequest`."""
    columns, split = body.columns or ColumnsRequest(), body.split
    try:
        options = Options(
            encoding=body.encoding,
            delimiter=body.delimiter,
            header=body.header,
            sheet=body.sheet,
            shape=body.shape,
            target_format=body.target_format,
            columns=Columns(prompt=columns.prompt, answer=columns.answer, system=columns.system),
            system_prompt=body.system_prompt,
            prompt_template=body.prompt_template,
            fixes=chosen_fixes(body.fixes),
            tool_definitions=body.tool_definitions,
            split=None
            if split is None
            else Split(
                validation_share=split.validation_share,
                validation_examples=split.validation_examples,
                seed=split.seed,
            ),
        )
        check_encoding(options.encoding)
        if options.delimiter is not None:
            given_delimiter(options.delimiter)
        if options.shape is not None:
            from service.datasets.preparation.plan import check_shape  # thirty modules that few requests need

            check_shape(options.shape)
        check_split(options.split)
        check_template(options.prompt_template)
    except PreparationRefused as error:
        raise InvalidRequest(error.message, param=error.param, code=error.code) from None
    return options


def show_preparation(row: DatasetPreparation) -> Preparation:
    """The wire form of a row."""
    options, outcome = stored_options(row), stored_outcome(row)
    return Preparation(
        id=row.id,
        status=row.status,
        progress=_progress(row),
        input_file=row.input_file_id,
        model=row.model,
        options=_options(options, outcome),
        input=outcome.input if outcome else None,
        training_file=row.training_file_id,
        validation_file=row.validation_file_id,
        changes=outcome.changes if outcome else {},
        rows_in=outcome.rows_in if outcome else None,
        rows_added=outcome.rows_added if outcome else None,
        rows_joined=outcome.rows_joined if outcome else None,
        rows_dropped=outcome.rows_dropped if outcome else {},
        drop_reasons=outcome.drop_reasons if outcome else {},
        rows_out=outcome.rows_out if outcome else None,
        validation_rows=outcome.validation_rows if outcome else None,
        definition_tokens=outcome.definition_tokens if outcome else None,
        notes=outcome.notes if outcome else [],
        error=_error(row),
        created_at=unix(row.created_at),
        finished_at=unix(row.finished_at) if row.finished_at else None,
    )


def _options(options: Options, outcome: Prepared | None) -> PreparationOptions:
    resolved = outcome.options if outcome else None
    return PreparationOptions(
        input_format=resolved.input_format if resolved else None,
        encoding=resolved.encoding if resolved else None,
        target_format=resolved.target_format if resolved else options.target_format,
        columns=resolved.columns if resolved else options.columns,
        guessed_columns=resolved.guessed_columns if resolved else [],
        system_prompt=options.system_prompt,
        prompt_template=resolved.prompt_template if resolved else options.prompt_template,
        fixes=list(options.fixes),
        tool_definitions=options.tool_definitions,
        split=options.split,
    )


def _progress(row: DatasetPreparation) -> float:
    if row.status == "succeeded":
        return 1.0
    return round(min(MAX_UNFINISHED_PROGRESS, row.progress_bytes / (PASSES * max(1, row.input_size_bytes))), 2)


def _error(row: DatasetPreparation) -> PreparationError | None:
    if row.error_code is None:
        return None
    return PreparationError(code=row.error_code, message=row.error_message or "", param=row.error_param)
