"""The options of a preparation and their rules: names of fixes, columns, the split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from service.datasets.checks.registry import FIXES
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.preparation.tool_definitions import ToolDefinitions
from service.datasets.report_schema import Format

Target = Literal["chat", "completion"]

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
        "drop_unknown_keys",
        "drop_empty_messages",
        "drop_trailing_messages",
        "functions_to_tools",
        "drop_duplicates",
        "strip_invisible",
        "add_separator",
        "add_ending",
        "add_leading_space",
        "drop_extra_columns",
    }
)
"""Fixes that remove nothing that a model could learn. The others change words or drop examples: they must be chosen."""

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


def chosen_fixes(requested: Sequence[str] | Literal["safe", "none"]) -> tuple[str, ...]:
    """The fixes that a request chooses, in the registry's order. Raises `PreparationRefused` for an unknown name."""
    if requested == "none":
        return ()
    if requested == "safe":
        return tuple(name for name in FIXES if name in SAFE_FIXES)
    unknown = [name for name in requested if name not in FIXES]
    if unknown:
        raise PreparationRefused(
            f"There is no fix {unknown[0][:64]!r}. Fixes: {', '.join(FIXES)}; or 'safe', or 'none'.",
            code="unknown_fix",
            param="fixes",
        )
    return tuple(name for name in FIXES if name in requested)


def check_split(split: Split | None) -> None:
    """Raises `PreparationRefused` unless exactly one of share and number is given, within its range."""
    if split is None:
        return
    share, examples = split.validation_share, split.validation_examples
    if (share is None) == (examples is None):
        raise PreparationRefused(
            "Give validation_share or validation_examples, one of the two.",
            code="conflicting_parameters",
            param="split",
        )
    if share is not None and not 0 < share < 1:
        raise PreparationRefused(
            "validation_share must lie between 0 and 1, such as 0.1.",
            code="invalid_value",
            param="split.validation_share",
        )
    if examples is not None and examples < 1:
        raise PreparationRefused(
            "validation_examples must be at least 1.", code="invalid_value", param="split.validation_examples"
        )
