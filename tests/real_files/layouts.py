"""What is expected of files whose rows are right, and whose JSON is laid out in another way than JSON Lines."""

from __future__ import annotations

from typing import Any

from tests.real_files.expectation import Expected
from tests.real_files.providers_and_exports import OPENING, SHORT


def read(
    examples: int = 3, *unused: str, first: dict[str, Any] = OPENING, notes: str = "", said: str = "", **errors: int
) -> Expected:
    """A file whose rows become chat examples."""
    return Expected(
        errors or {"json_array_file": 1},
        format="chat",
        examples=examples,
        first=first,
        unused=unused,
        notes=notes,
        said=said,
    )


def refused(message: str, *, said: str = "", **errors: int) -> Expected:
    """A file that is refused."""
    return Expected(errors or {"json_array_file": 1}, refused=message, said=said)


EXPECTED: dict[str, Expected] = {
    "arrays_one_after_another.json": read(),
    "commas_between.jsonl": read(said="A comma stands behind each object"),
    "conversation_arrays.jsonl": read(2, notes="Each array of messages is a conversation"),
    "cut_cells.csv": refused(
        "row 3: the text in `messages` has 32,767 characters, the limit of a cell in Excel", table_file=1
    ),
    "cut_off.json": refused("item 3: the file ends in the middle of it, in line 37"),
    "dataset_info.json": refused("The file is the description of a Hugging Face data set", said="dataset_info.json"),
    "encoded_twice.jsonl": read(notes="encoded twice", said="encoded twice"),
    "header_and_arrays.json": read(2, first=SHORT, notes="The first array has the names of the columns"),
    "items.jsonl": read(2, notes="Each row is inside `item`", other_shape=1),
    "joined_lines.jsonl": read(said="separated by \\n, written as two characters"),
    "langfuse.csv": Expected({"table_file": 1}, shape="langfuse", format="chat", examples=2, first=OPENING),
    "messages_as_text.jsonl": read(2, notes="decodes it", other_shape=1),
    "messages_by_numpy.csv": read(2, notes="decodes it", table_file=1),
    "messages_by_pandas.csv": read(2, "/source", notes="decodes it", table_file=1),
    "messages_column.csv": read(2, "/id", notes="decodes it", said="`messages` contains conversations", table_file=1),
    "nested_rows.json": read(
        2, first=SHORT, notes="the list at /data/rows in one JSON object; beside it", said="one object: /data/rows"
    ),
    "pretty_objects.jsonl": read(),
    "record_separators.jsonl": read(said="A record separator"),
    "rows_by_id.json": read(2, first=SHORT, notes="its key (`q17`, `q18` …) is not used"),
    "side_by_side.jsonl": read(said="Several objects stand on one line"),
    "splits.json": read(2, notes="Not read: /validation (1 row), /test (1 row)"),
    "state.json": refused("The file is the state of a Hugging Face data set", said="state.json"),
    "two_lists.json": refused(
        "several lists of rows: /easy, /hard. Name one in the option `sheet`", said="option `sheet`"
    ),
    "viewer_rows.json": read(2, notes="a page of 2 of 500 rows", said="inside one object: /rows"),
    "viewer_rows_cut.jsonl": refused("line 2: the dataset viewer has cut `messages` off", other_shape=1),
}
