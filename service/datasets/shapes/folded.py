"""Rows inside rows: `{"row_idx": 0, "row": {…}}`, `{"item": {…}}`, and conversations that were written as a text.

Sources: the rows of the Hugging Face dataset viewer's API; the items of OpenAI's evals and graders; JSON in the cells
of tables, and Python's notation, which pandas writes for lists.
"""

from __future__ import annotations

from typing import Any, Literal

from service.datasets.parsing.formats import row_format
from service.datasets.shapes.containers import is_conversation, is_viewer_row
from service.datasets.shapes.json_texts import parsed
from service.datasets.shapes.registry import Row

Fold = Literal["row", "item", "text"]

CONVERSATIONS = (
    "messages", "conversations", "conversation", "contents", "chosen", "rejected", "preferred_output",
    "non_preferred_output", "chat_history", "interactions",
)  # fmt: skip
"""Keys whose values are lists of messages. `OTHERS` are decoded beside them."""

OTHERS = (
    "prompt", "input", "tools", "functions", "completion", "completions", "available_tools", "system",
    "systemInstruction", "system_instruction", "toolConfig",
)  # fmt: skip

DESCRIPTIONS: dict[Fold, str] = {
    "row": "Each row is inside `row`, as Hugging Face's dataset viewer returns it; the fix convert_shape takes it out",
    "item": "Each row is inside `item`, as in OpenAI's evals and graders; the fix convert_shape takes it out",
    "text": "The messages of each row are a text of JSON or Python's notation; the fix convert_shape decodes it",
}


def fold_of(row: Row) -> Fold | None:
    """How the row is inside another, or None. It depends on keys and types alone, except for texts."""
    if is_viewer_row(row):
        return "row"
    item = row.get("item")
    if isinstance(item, dict) and item and row_format(row) is None:
        return "item"
    return "text" if any(_is_written(row.get(key)) for key in CONVERSATIONS) else None


def unfolded(row: Row, fold: Fold) -> Row:
    """The inner row. The other keys beside an `item` are kept beside its own."""
    if fold == "row":
        inner: Row = row["row"]
        return inner
    if fold == "item":
        return {**{key: value for key, value in row.items() if key != "item"}, **row["item"]}
    if fold_of(row) != "text":
        return row
    return {key: parsed(value) if key in CONVERSATIONS or key in OTHERS else value for key, value in row.items()}


def _is_written(value: Any) -> bool:
    """Whether a text is a written list of messages."""
    return isinstance(value, str) and value.lstrip()[:1] in ("[", "a") and is_conversation(parsed(value))
