"""What a preparation reports: how the input was read, what was guessed how surely, and what became of each row."""

from __future__ import annotations

from typing import Literal

import msgspec

from service.datasets.preparation.options import ResolvedOptions

Certainty = Literal["given", "certain", "likely", "uncertain"]
"""`given` by the request; `certain` from the bytes themselves; `likely` and `uncertain` are estimates."""


class Guess(msgspec.Struct, frozen=True, kw_only=True):
    """A property of the input and how sure it is."""

    value: str
    certainty: Certainty


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """How the input was read.

    `unit` is what its rows are called: line, row or item. `delimiter` and `header` (whether the first row has the
    names of the columns) are null unless the input is a table of text, `sheet` unless it is a workbook or an object
    with several lists of rows. `shape` is the known shape that was converted. `unused` counts, by column or by JSON
    pointer with `*` for the position in a list, the values that are not in the examples.
    """

    format: str
    unit: str
    encoding: Guess
    delimiter: Guess | None = None
    header: Guess | None = None
    sheet: str | None = None
    sheets_not_read: list[str] = []
    shape: str | None = None
    columns: list[str] = []
    unused: dict[str, int] = {}


class DefinitionTokens(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of the definitions of all examples before and after, counted as in a report."""

    before: int
    after: int
    saved: int


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome, which accounts for the whole input: `rows_in` + `rows_added` = `rows_out` + `rows_joined` + the rows
    dropped.

    `input` is how the input was read. `changes` counts changes by fix, `rows_dropped` the rows that are in no file, and
    `drop_reasons` the same rows by reason, with … for numbers.
    `rows_out` are the rows of both files. `rows_added` counts the examples beyond one for each row, `rows_joined` the
    rows that became a part of another row's example. A blank line is no row. `definition_tokens` are the tokens that
    shorter definitions of functions save, if the options shorten them.
    """

    options: ResolvedOptions
    input: Input | None = None
    changes: dict[str, int]
    rows_in: int
    rows_added: int = 0
    rows_joined: int = 0
    rows_dropped: dict[str, int] = {}
    drop_reasons: dict[str, int] = {}
    rows_out: int
    validation_rows: int
    notes: list[str]
    definition_tokens: DefinitionTokens | None = None


def output_names(filename: str, *, split: bool) -> tuple[str, str]:
    """The names of the training and the validation file, formed as `prepare_data` formed them."""
    stem = filename.removesuffix(".gz").rsplit(".", 1)[0] if "." in filename.lstrip(".") else filename
    return (
        f"{stem}_prepared_train.jsonl" if split else f"{stem}_prepared.jsonl",
        f"{stem}_prepared_valid.jsonl",
    )
