"""Sentences about a workbook: the sheets that are not read, and what the cells of the one that is read needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

_SHOWN = 20
_PARTS_OF_A_SPLIT = frozenset({"train", "training", "validation", "valid", "val", "dev", "test", "eval", "evaluation"})


def notes_on_sheets(chosen: str, others: Sequence[tuple[str, int, bool]]) -> list[str]:
    """The sheet that is read and the others that have content, each with its number of rows and its visibility."""
    if not others:
        return []
    shown = ", ".join(
        f"`{name[:64]}` ({rows:,} rows{'' if visible else ', hidden'})" for name, rows, visible in others[:_SHOWN]
    )
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    notes = [f"The sheet `{chosen[:64]}` was read. Not read: {shown}{more}. The option `sheet` chooses another one."]
    if {name.strip().lower() for name, _, _ in others} & _PARTS_OF_A_SPLIT:
        notes.append("Some sheets are named as parts of a split; prepare each of them by its name.")
    return notes


def notes_on_rows(counts: Counter[str]) -> Iterator[str]:
    """What the cells of a sheet needed, by the counts of `SheetRows`."""
    if cells := counts["merged"]:
        yield f"{_cells(cells)} got the value of the merged cell that covers {_them(cells)}."
    if cells := counts["error"]:
        yield f"{_cells(cells)} with an error of a formula, such as #N/A, {_were(cells)} read as empty."
    if cells := counts["uncalculated"]:
        yield (
            f"{_cells(cells)} with a formula whose value was never calculated {_were(cells)} read as empty. Open the "
            "workbook in a spreadsheet program, save it, and prepare it again."
        )
    if rows := counts["hidden rows"]:
        yield f"{rows:,} hidden row{'s' if rows > 1 else ''}, by a filter or by hand, {_were(rows)} read as the others."
    if columns := counts["hidden columns"]:
        yield f"{columns:,} hidden column{'s' if columns > 1 else ''} {_were(columns)} read as the others."
    if cells := counts["rounded"]:
        have = "s have" if cells > 1 else " has"
        yield f"{cells:,} number{have} more digits than the sheet shows; those shown were read."
    if counts["numbers"]:
        yield (
            "Formats of numbers are not read from this kind of workbook: a cell that shows 25% is 0.25, and one that "
            "shows 00123 is 123. If the sheet has such cells, save it as XLSX or CSV."
        )


def _cells(count: int) -> str:
    return f"{count:,} cell{'s' if count > 1 else ''}"


def _were(count: int) -> str:
    return "were" if count > 1 else "was"


def _them(count: int) -> str:
    return "them" if count > 1 else "it"
