"""What is expected of tables and workbooks as spreadsheets, databases and exports write them."""

from __future__ import annotations

from tests.real_files.expectation import Expected, chat

TABLE = {"table_file": 1}


def pair(question: str, answer: str) -> dict[str, object]:
    """A chat example of a question and its answer."""
    return chat(("user", question), ("assistant", answer))


EXPECTED: dict[str, Expected] = {
    "excel_sep_line.csv": Expected(
        TABLE, format="chat", examples=2, first=pair("When does the ferry leave?", "At 7:40, and at 9:10.")
    ),
    "decimal_commas.csv": Expected(
        TABLE,
        format="chat",
        examples=2,
        first=pair("Was kostet eine Fahrt?", "Eine Fahrt kostet 3,20 Euro."),
        unused=("Beleg",),
    ),
    "export_with_title.csv": Expected(
        TABLE,
        format="chat",
        examples=2,
        first=pair("How do I reset the door code?", "Press C, then 4."),
        unused=("ticket",),
        notes="row 1 (`Help desk`, ` export of 3 May`)",
    ),
    "no_header.csv": Expected(
        TABLE,
        format="chat",
        examples=2,
        first=pair("Where is the fuse box?", "Behind the coat rack."),
        notes="so the table has no header",
    ),
    "mysql_escapes.csv": Expected(
        TABLE,
        format="chat",
        examples=2,
        first=pair('She said "why"?', 'Because of "it", as always.'),
        notes="A backslash escapes quotes",
    ),
    "two_delimiters.csv": Expected(TABLE, refused="The delimiter of the table is not clear"),
    "pandas_index.csv": Expected(
        TABLE,
        format="chat",
        examples=2,
        first=pair("Where is the fuse box?", "Behind the coat rack."),
        unused=("column_1",),
    ),
    "formats.xlsx": Expected(
        TABLE,
        format="chat",
        examples=4,
        first=pair("How much is the discount?", "25%"),
        notes="1 cell with an error of a formula",
    ),
    "merged_cells.xlsx": Expected(
        TABLE,
        format="chat",
        examples=4,
        first=pair("Where is the fuse box?", "Behind the coat rack."),
        notes="Not read: `Archive` (2 rows)",
    ),
    "never_calculated.xlsx": Expected(TABLE, refused="a formula whose value was never calculated"),
}
