"""The options of a preparation and their rules: names of fixes, columns, the split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from service.datasets.encodings.names import UnknownEncoding, encoding_named
from service.datasets.fixes import FIXES
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.report_schema import Format

Target = Literal["chat", "completion"]
ToolDefinitions = Literal["keep", "without_descriptions", "without_parameters", "without_definitions"]

SAFE_FIXES = frozenset(
    {
        "strip_bom",
        "normalize_newlines",
        "drop_blank_lines",
        "reencode_utf8",
        "strip_nul_bytes",
        "json_to_jsonl",
        "table_to_jsonl",
        "convert_shape",
        "move_known_keys",
        "drop_metadata",
        "drop_empty_messages",
        "drop_trailing_messages",
        "functions_to_tools",
        "drop_duplicates",
        "restore_escapes",
        "strip_invisible",
        "add_separator",
        "add_ending",
        "add_leading_space",
    }
)
"""Fixes that remove nothing that a model could learn: they move it, or refuse the row. The others change words or drop
examples: they must be chosen."""

IMPLIED_FIXES = frozenset(
    {"strip_bom", "normalize_newlines", "drop_blank_lines", "json_to_jsonl", "table_to_jsonl", "convert_shape"}
)
"""Fixes that rewriting a file as JSON Lines implies: they are applied and recorded whatever is chosen."""


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """The name of the column of each part; null where there is none."""

    prompt: str | None = None
    answer: str | None = None
    system: str | None = None


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """How many examples are held back for validation: either a share between 0 and 1, or a number."""

    validation_share: float | None = None
    validation_examples: int | None = None
    seed: int = 0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a request. `fixes` are names; with `target_format` null the input or the model decides;
    `tool_definitions` is how much of the definitions of functions stays.

    `encoding`, `delimiter`, `header` (whether the first row has the names of the columns), `sheet` (of a workbook, or
    the key of a list of rows in a JSON object) and `shape` (a name, or `none` to read known shapes as columns) replace
    what is guessed from the input.
    """

    encoding: str | None = None
    delimiter: str | None = None
    header: bool | None = None
    sheet: str | None = None
    shape: str | None = None
    target_format: Target | None = None
    columns: Columns = Columns()
    system_prompt: str | None = None
    prompt_template: str | None = None
    fixes: tuple[str, ...] = ()
    tool_definitions: ToolDefinitions = "keep"
    split: Split | None = None


class ResolvedOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options that were applied, with what was detected and guessed from the file (`Input` has the rest).

    `columns` is null where the rows were examples already; `guessed_columns` names those that the request left out.
    """

    input_format: str
    encoding: str
    target_format: Format | None
    columns: Columns | None
    guessed_columns: list[str]
    system_prompt: str | None
    prompt_template: str | None
    fixes: list[str]
    split: Split | None
    tool_definitions: ToolDefinitions = "keep"


def chosen_fixes(requested: Sequence[str] | str) -> tuple[str, ...]:
    """The fixes that a request chooses, in the registry's order.

    `requested` are names, as a list or separated by commas. Among them `safe` stands for all safe fixes, and `-name`
    leaves one out; `+name` is the same as the name. `none` alone chooses nothing. Raises `PreparationRefused` for an
    unknown name, and for names that contradict each other.
    """
    given = [requested] if isinstance(requested, str) else requested
    names = [name.strip() for each in given for name in each.split(",") if name.strip()]
    if "none" in names:
        if set(names) != {"none"}:
            raise _conflict("'none' chooses no fix; leave it out, or the others.")
        return ()
    added: set[str] = set()
    left_out: set[str] = set()
    for name in names:
        chosen = left_out if name.startswith("-") else added
        plain = name.removeprefix("-").removeprefix("+").strip()
        if plain == "safe":
            chosen |= SAFE_FIXES
            continue
        if plain not in FIXES:
            raise PreparationRefused(
                f"There is no fix {plain[:64]!r}. Fixes: {', '.join(FIXES)}; or 'safe', or 'none'.",
                code="unknown_fix",
                param="fixes",
            )
        chosen.add(plain)
    _check_conflicts(names, left_out)
    return tuple(name for name in FIXES if name in added - left_out)


def _check_conflicts(names: Sequence[str], left_out: set[str]) -> None:
    for name in sorted(left_out):
        if name in names or f"+{name}" in names:
            raise _conflict(f"{name!r} is both chosen and left out; give it once.")
        if name in IMPLIED_FIXES:
            raise _conflict(f"{name!r} cannot be left out: to write JSON Lines implies it.")


def _conflict(message: str) -> PreparationRefused:
    return PreparationRefused(message, code="conflicting_parameters", param="fixes")


def check_encoding(label: str | None) -> None:
    """Raises `PreparationRefused` unless a label means an encoding. None means that it is detected."""
    try:
        if label is not None:
            encoding_named(label)
    except UnknownEncoding as error:
        raise PreparationRefused(str(error), code="invalid_value", param="encoding") from None


def check_split(split: Split | None) -> None:
    """Raises `PreparationRefused` unless exactly one of share and number is given, within its range."""
    if split is None:
        return
    share, examples = split.validation_share, split.validation_examples
    if (share is None) == (examples is None):
        raise PreparationRefused(
            "Give the option `validation_share` or the option `validation_examples`, one of the two.",
            code="conflicting_parameters",
            param="split",
        )
    if share is not None and not 0 < share < 1:
        raise PreparationRefused(
            "The share of the examples for validation must lie between 0 and 1 (100%), such as 0.1 (10%).",
            code="invalid_value",
            param="split.validation_share",
        )
    if examples is not None and examples < 1:
        raise PreparationRefused(
            "The number of examples for validation must be at least 1.",
            code="invalid_value",
            param="split.validation_examples",
        )
