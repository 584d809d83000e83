"""Makes texts of the rows of a sheet as a person reads them: formats, durations, merged cells, errors."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

from python_calamine import CalamineSheet

from service.datasets.preparation.readers.header import Record
from service.datasets.preparation.readers.number_format import Format, Shown, plain_number

Trait: TypeAlias = Format | Shown | Literal["error", "uncalculated"]
"""What is special about a cell: its format, the text that is shown for it, or that it has no value."""

NEXT_ROW_TOO = 0
"""The depth of a header with cells that are merged over several columns: names may follow in the next row."""


_ROUNDING = dt.timedelta(microseconds=500)


class Span(NamedTuple):
    """A merged cell: its first column (from 0), and how many rows and columns it covers."""

    column: int
    rows: int
    columns: int


class RowTraits(NamedTuple):
    """The traits of a row's cells by column (from 0), the merged cells that begin in it, and whether it is hidden."""

    traits: dict[int, Trait]
    spans: list[Span]
    is_hidden: bool = False


class SheetRows:
    """The records of a sheet. `counts` says how many cells needed what, and `depths` how many rows a header at a row
    would have, since its cells are merged; both grow while the records are read. `has_formats` is false for files whose
    formats of numbers are not read.
    """

    def __init__(self, sheet: CalamineSheet, spans: dict[int, list[Span]]) -> None:
        self.counts: Counter[str] = Counter()
        self.depths: dict[int, int] = {}
        self.has_formats = True
        self._sheet = sheet
        self._spans = spans
        self._top, self._left = sheet.start or (0, 0)
        self._traits: Iterator[tuple[int, RowTraits]] = iter(())
        self._next: tuple[int, RowTraits] | None = (0, RowTraits({}, []))
        self._below: dict[int, tuple[str, int]] = {}

    def read_traits(self, traits: Iterator[tuple[int, RowTraits]]) -> None:
        """Take what is special about cells from `traits`, which come in the order of rows."""
        self._traits = traits

    def __iter__(self) -> Iterator[Record]:
        """The rows with their numbers, from the first one with a value."""
        for number, values in enumerate(self._sheet.iter_rows(), start=1):  # without the columns on the left
            if number <= self._top:
                continue
            texts = [_text(value) for value in values]
            if not self.has_formats:
                self.counts["numbers"] += sum(type(value) is float for value in values)
            traits = self._traits_of(number)
            if traits is not None:
                self._apply(traits, values, texts)
            spans = self._spans.get(number, []) + (traits.spans if traits is not None else [])
            if spans or self._below:
                self._fill(number, texts, spans)
            yield number, texts
        for _ in self._traits:  # counts what is hidden below
            pass

    def _traits_of(self, number: int) -> RowTraits | None:
        """The traits of a row, which come in the order of rows."""
        while self._next is not None and self._next[0] < number:
            self._next = next(self._traits, None)
        return self._next[1] if self._next is not None and self._next[0] == number else None

    def _apply(self, traits: RowTraits, values: list[Any], texts: list[str]) -> None:
        self.counts["hidden rows"] += traits.is_hidden
        for place, trait in traits.traits.items():
            column = place - self._left
            if 0 <= column < len(texts):
                texts[column] = self._text_with_trait(trait, values[column], texts[column])

    def _text_with_trait(self, trait: Trait, value: Any, text: str) -> str:
        match trait:
            case "error" | "uncalculated":
                self.counts[trait] += 1
                return ""
            case Shown():
                return trait.text
            case Format() if trait.clock is not None:
                seconds = _seconds(value)
                return text if seconds is None else trait.clock.show(seconds)
            case Format():
                if trait.show is None or isinstance(value, bool) or not isinstance(value, int | float):
                    return text
                shown = trait.show(value)
                self.counts["rounded"] += shown.is_rounded
                return shown.text

    def _fill(self, number: int, texts: list[str], spans: list[Span]) -> None:
        """Give merged cells the value of their first cell, in rows that have another value. A row that has nothing but
        one merged cell is a heading."""
        is_filled = any(texts)
        for column, (text, last) in list(self._below.items()):
            if number > last:
                del self._below[column]
            elif is_filled and not texts[column]:
                texts[column] = text
                self.counts["merged"] += 1
        for span in spans:
            first = span.column - self._left
            columns = range(max(0, first), min(first + span.columns, len(texts)))
            text = texts[first] if columns and first >= 0 else ""
            alone = not any(cell for column, cell in enumerate(texts) if cell and column not in columns)
            if not text or (alone and span.columns > 1):
                continue
            self.depths[number] = max(self.depths.get(number, 0), span.rows if span.rows > 1 else NEXT_ROW_TOO)
            for column in columns:
                if column > first and not texts[column]:
                    texts[column] = text
                    self.counts["merged"] += 1
                if span.rows > 1:
                    self._below[column] = text, number + span.rows - 1


def _text(value: Any) -> str:
    """A cell without a format as a person reads it: 3.0 is `3`, a date without a time is a date, true is `true`."""
    match value:
        case str():
            return value.replace("\r\n", "\n").replace("\r", "\n") if "\r" in value else value
        case bool():
            return "true" if value else "false"
        case float():
            return plain_number(value)
        case dt.datetime() if value.time() == dt.time():
            return value.date().isoformat()
        case dt.datetime():
            return f"{(value + _ROUNDING).date().isoformat()} {_time(value.time())}"
        case dt.timedelta():
            return _duration(value)
        case dt.time():
            return _time(value)
        case dt.date():
            return value.isoformat()
        case None:
            return ""
        case _:
            return str(value)


def _seconds(value: Any) -> float | None:
    """The seconds of a time or a duration; None for another value."""
    match value:
        case dt.timedelta():
            return value.total_seconds()
        case dt.datetime():
            return _seconds(value.time())
        case dt.time():
            return value.hour * 3_600 + value.minute * 60 + value.second + value.microsecond / 1e6
        case _:
            return None


def _time(value: dt.time) -> str:
    """A time of day without the noise of the fraction of a day that it is stored as."""
    rounded = (dt.datetime.combine(dt.date(2000, 1, 1), value) + _ROUNDING).time()
    return rounded.isoformat("milliseconds" if rounded.microsecond >= 1_000 else "seconds")


def _duration(value: dt.timedelta) -> str:
    """Hours, minutes and seconds: `36:15:00`."""
    seconds = round(value.total_seconds())
    minutes, rest = divmod(abs(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{'-' if seconds < 0 else ''}{hours}:{minutes:02}:{rest:02}"
