"""How commands print: the API's objects as JSON for programs, tables and fields for people."""

import datetime as dt
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 250
FOLDED_WIDTH = 10
"""The least width of a column whose values continue on a second line."""

GAP = 2
"""The spaces between two columns."""

_UNITS = ("B", "kB", "MB", "GB", "TB")
_STYLES = {
    **dict.fromkeys(("succeeded", "processed", "delivered", "active"), "green"),
    **dict.fromkeys(("failed", "error"), "red"),
    **dict.fromkeys(("running", "queued", "validating_files", "pending"), "yellow"),
}
"""The colour of a status; others have none."""

Cell = str | Text | None


@dataclass(frozen=True)
class Column:
    """A column of a table. One that is empty in every row is left out."""

    title: str
    justify: Literal["left", "right"] = "left"
    fold: bool = False
    """Long values continue on a second line, instead of being cut off: ids, which people copy, and messages."""
    whole: bool = False
    """Other columns become narrower first, so that what people copy stays in one line."""
    spare: bool = False
    """Left out of a terminal that is too narrow for all columns, the widest one first."""


def console(*, stderr: bool = False) -> Console:
    """A console that does not colour numbers, nor read `:name:` as an emoji: names of models have colons."""
    return Console(highlight=False, emoji=False, stderr=stderr)


def print_json(body: Any) -> None:
    """Print an object of the API as it is, indented at a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    print(json.dumps(body, ensure_ascii=False, indent=indent))


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], to: Console, *, empty: str) -> None:
    """Print a table; `empty` is printed if it has no row. Columns for which there is no room are named below it."""
    cells = [[_text(cell) for cell in row] for row in rows]
    if not cells:
        to.print(Text(empty, style="dim"), soft_wrap=True)
        return
    wide = _wide(to)
    kept = _fitting(columns, cells, wide.width)
    wide.print(table([columns[index] for index in kept], [[row[index] for index in kept] for row in cells]))
    left_out = [
        column.title
        for index, column in enumerate(columns)
        if index not in kept and any(row[index].plain for row in cells)
    ]
    if left_out:
        note = f"Not shown, since the terminal is narrow: {', '.join(left_out)}; --json has all."
        wide.print(Text(note, style="dim"), soft_wrap=True)


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> Table:
    """A table, without columns that are empty in every row."""
    cells = [[_text(cell) for cell in row] for row in rows]
    used = [index for index in range(len(columns)) if any(row[index].plain for row in cells)]
    drawn = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    for column in (columns[index] for index in used):
        overflow: Literal["fold", "ellipsis"] = "fold" if column.fold or column.whole else "ellipsis"
        drawn.add_column(column.title, justify=column.justify, overflow=overflow, no_wrap=column.whole)
    for row in cells:
        drawn.add_row(*(row[index] for index in used))
    return drawn


def print_fields(fields: Iterable[tuple[str, Cell]], to: Console) -> None:
    """Print names with their values, one a line, without those that have no value."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in fields:
        if (text := _text(value)).plain:
            grid.add_row(name, text)
    _wide(to).print(grid)


def status(value: str | None) -> Text | None:
    """A status in its colour."""
    return None if value is None else Text(printable(value), style=_STYLES.get(value, ""))


def verdict_name(kind: str) -> str:
    """The kind of a verdict in words: `over-fitted`, `still falling`."""
    return "over-fitted" if kind == "over_fitted" else kind.replace("_", " ")


def dollars(amount: dict[str, Any] | None) -> str | None:
    """An amount of the API: `$0.0218`, with two decimals from a dollar on, and `<$0.0001` for less than is shown."""
    if amount is None:
        return None
    value = float(amount["value"])
    if 0 < value < 0.00005:
        return "<$0.0001"
    decimals = 2 if value == 0 or abs(value) >= 1 else 4
    return f"{'-' if value < 0 else ''}${abs(value):,.{decimals}f}"


def moment(seconds: int | None) -> str | None:
    """A time of the API, in seconds since 1970, in this machine's time zone."""
    return None if seconds is None else f"{dt.datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"


def duration(seconds: float | None) -> str | None:
    """A duration: `8 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`."""
    if seconds is None:
        return None
    whole = round(seconds)
    for size, name, smaller, smaller_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name} {rest} {smaller_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def number(value: float | None, *, decimals: int = 0) -> str | None:
    """A number with thousands separators."""
    return None if value is None else f"{value:,.{decimals}f}"


def size(size_bytes: int | None) -> str | None:
    """A size in decimal units, as OpenAI counts: `512 B`, `1.4 MB`."""
    if size_bytes is None:
        return None
    value, unit = float(size_bytes), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:,.0f} {_UNITS[unit]}" if unit == 0 or value >= 99.95 else f"{value:.1f} {_UNITS[unit]}"


def printable(text: str, *, keep: str = "") -> str:
    """On one line, without control characters, which may be escape codes for the terminal, except those in `keep`."""
    return "".join(letter if letter.isprintable() or letter in keep else " " for letter in text)


def _wide(to: Console) -> Console:
    """The console; for a pipe one that is so wide that `grep` finds whole ids."""
    if to.is_terminal or "COLUMNS" in os.environ:
        return to
    return Console(file=to.file, highlight=False, emoji=False, width=PIPE_WIDTH)


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> list[int]:
    """The columns that are shown, by their indices: those that have values, without spare ones that do not fit."""
    widths = {
        index: max(cell_len(column.title) if not column.fold else 0, *(row[index].cell_len for row in rows))
        for index, column in enumerate(columns)
        if any(row[index].plain for row in rows)
    }
    for index in widths:
        if columns[index].fold and not columns[index].spare:
            widths[index] = min(widths[index], FOLDED_WIDTH)
    while sum(widths.values()) + GAP * (len(widths) - 1) > width:
        spare = [index for index in widths if columns[index].spare]
        if not spare:
            break
        del widths[max(spare, key=lambda index: widths[index])]
    return list(widths)


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(printable(cell or ""))
