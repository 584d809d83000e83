"""What a preparation can be asked for, and what that means: names of fixes, columns, the split."""

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
"""Fixes that take nothing away that could be learnt. The others change words or drop examples, so they are chosen."""

IMPLIED_FIXES = frozenset({"strip_bom", "normalize_newlines", "drop_blank_lines", "json_to_jsonl", "table_to_jsonl"})
"""Fixes that writing JSON Lines anew implies: they happen, and are recorded, whatever is chosen."""


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """Which column holds what; null where there is none."""

    prompt: str | None = None
    answer: str | None = None
    system: str | None = None


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """How much is held back for validation: a share between 0 and 1, or a number of examples; one of the two."""

    validation_share: float | None = None
    validation_examples: int | None = None
    seed: int = 0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """A preparation as it was asked for. `fixes` are names; `target_format` null lets the input or the model decide;
    `tool_definitions` says how much of the definitions of functions is kept."""

    target_format: Target | None = None
    columns: Columns = Columns()
    system_prompt: str | None = None
    prompt_template: str | None = None
    fixes: tuple[str, ...] = ()
    tool_definitions: ToolDefinitions = "keep"
    split: Split | None = None


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """The options as they came to be: what was guessed of the file and what was chosen for it.

    `columns` is null where rows had a format of their own; `guessed_columns` names those that nobody gave.
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


def chosen_fixes(asked: Sequence[str] | Literal["safe", "none"]) -> tuple[str, ...]:
    """The names that a request chooses, in the registry's order. Raises `PreparationRefused` for an unknown one."""
    if asked == "none":
        return ()
    if asked == "safe":
        return tuple(name for name in FIXES if name in SAFE_FIXES)
    unknown = [name for name in asked if name not in FIXES]
    if unknown:
        raise PreparationRefused(
            f"There is no fix {unknown[0][:64]!r}. Fixes: {', '.join(FIXES)}; or 'safe', or 'none'.",
            code="unknown_fix",
            param="fixes",
        )
    return tuple(name for name in FIXES if name in asked)


def check_split(split: Split | None) -> None:
    """Raises `PreparationRefused` unless exactly one of share and number is given, and is in range."""
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
