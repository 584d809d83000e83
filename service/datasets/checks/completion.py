"""Checks of one prompt-completion row (for babbage-002, davinci-002 and similar models).

Source of the rules: OpenAI's retired `fine_tunes.prepare_data` tool and the guide to legacy fine-tuning. The tool's
checks of a whole file are in `completion_file`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.datasets.checks.registry import Hit, example_check
from service.datasets.other_keys.advice import advice
from service.datasets.other_keys.find import other_keys

SECTION = "Completion"
MAX_ROW_CHARS = 10_000


@example_check("completion_fields", "error", SECTION, formats=("completion",))
def completion_fields(row: dict[str, Any]) -> Iterator[Hit]:
    """`prompt` or `completion` is missing or not a string. A prompt may be empty (open-ended generation)."""
    for key in ("prompt", "completion"):
        value = row.get(key)
        if key not in row:
            near = next((other for other in row if other.strip().lower() == key), None)
            meant = f" The key {near!r} must be written {key}." if near else ""
            yield Hit(f"/{key}", row, f"This row has no {key}; add it as a string.{meant}")
        elif not isinstance(value, str):
            yield Hit(f"/{key}", value, f"{key} must be a string.")


@example_check("completion_extra_columns", "error", SECTION, formats=("completion",), fix="drop_extra_columns")
def completion_extra_columns(row: dict[str, Any]) -> Iterator[Hit]:
    """A row has columns other than prompt and completion, with text or an instruction in them."""
    for each in other_keys(row, "completion"):
        if each.fate == "unknown":
            yield Hit(each.pointer, each.value, f"{advice(each, 'completion')}.")


@example_check("completion_empty", "error", SECTION, formats=("completion",))
def completion_empty(row: dict[str, Any]) -> Iterator[Hit]:
    """The completion is empty: there is nothing to learn."""
    completion = row.get("completion")
    if isinstance(completion, str) and not completion.strip():
        yield Hit("/completion", completion, "The completion is empty; write it or remove the row.")


@example_check("completion_long_row", "warning", SECTION, formats=("completion",), fix="drop_long_rows")
def completion_long_row(row: dict[str, Any]) -> Iterator[Hit]:
    """Prompt and completion together have over 10,000 characters. Classification and short texts need far fewer."""
    prompt, completion = row.get("prompt"), row.get("completion")
    if isinstance(prompt, str) and isinstance(completion, str):
        length = len(prompt) + len(completion)
        if length > MAX_ROW_CHARS and prompt:
            yield Hit("", prompt, f"This row has {length:,} characters; shorten it to {MAX_ROW_CHARS:,} or remove it.")


@example_check("completion_no_leading_space", "warning", SECTION, formats=("completion",), fix="add_leading_space")
def completion_no_leading_space(row: dict[str, Any]) -> Iterator[Hit]:
    """The completion does not start with white space. Most tokens of words begin with a space."""
    completion = row.get("completion")
    if isinstance(completion, str) and completion.strip() and not completion[0].isspace():
        yield Hit("/completion", completion, "Start the completion with a space; most tokens begin with one.")
