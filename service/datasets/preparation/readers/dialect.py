"""Detects how a CSV file separates and quotes its cells.

Sources: RFC 4180; the line `sep=;`, with which Excel names the delimiter; MySQL's and pandas' escape of a quote by a
backslash. A guess is made of the first rows: with the right delimiter the header and nearly all rows have equally many
cells. Where two delimiters fit, neither is chosen.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from service.datasets.preparation.column_words import are_known, is_known
from service.datasets.preparation.outcome import Certainty, Guess
from service.datasets.preparation.refusals import PreparationRefused

ONE_COLUMN = "none"
"""The value of the delimiter of a table that has only one column."""

_USUAL = (",", ";", "\t", "|")
_CONTROL = ("\x1f", "\x01")
"""The unit separator of ASCII, and the delimiter of Hive."""

_RARE = ("^", "~")

_NAMES = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "bar": "|", "space": " "}
_ESCAPE = re.compile(r"\\(?:[tT]|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4}))")
_SEP_LINE = re.compile(r"\s*(\"?)sep=(.|\\t|tab)?\1[;,\s]*", re.IGNORECASE)
_ONE_WORD = re.compile(r"\s*([\"']?)[\w-]+\1\s*")
_BLANK = ' ,;\t|"'
_MIN_EVEN = 0.9
_NO_DELIMITER = "\x00"
_SHOWN_CELLS = 4
_SHOWN_CHARS = 40

QUOTE_SIGN, DELIMITER_SIGN, RETURN_SIGN = "\ufdd0", "\ufdd1", "\ufdd2"
"""Characters that no text contains (Unicode 23.7), in the place of those that the parser would take for its own."""


class Dialect(NamedTuple):
    """How cells are separated, how they are quoted, and whether a backslash escapes quotes inside them."""

    delimiter: str
    quote: Literal['"', "'"] = '"'
    escaped: bool = False


class Detected(NamedTuple):
    """A dialect, the delimiter as reported, and sentences about what is unusual."""

    dialect: Dialect
    guess: Guess
    notes: list[str]


class _Reading(NamedTuple):
    """The first rows as read with a dialect, and how well the delimiter fits.

    `headed` is 2 if the first row has as many cells as the others, 1 if only titles stand above the first such row.
    `known` is 2 if the header names a question and an answer, 1 if it has another known name. `is_prose` says that the
    delimiter rather is punctuation.
    """

    dialect: Dialect
    rows: list[list[str]]
    width: int
    headed: int
    known: int
    even: float
    is_prose: bool

    @property
    def rank(self) -> tuple[int, int, bool, bool]:
        return (self.known, self.headed, self.even >= _MIN_EVEN, not self.is_prose)


def given_delimiter(text: str) -> str:
    """The character that an option gives: itself, by a name such as `tab`, or by an escape such as `\\t` or `\\x1f`."""
    named = _NAMES.get(text.strip().lower())
    escape = _ESCAPE.fullmatch(text.strip())
    if named is not None:
        return named
    if escape is not None:
        code = escape.group(1) or escape.group(2)
        text = chr(int(code, 16)) if code else "\t"
    if len(text) != 1 or text in "\"'\r\n\0":
        raise PreparationRefused(
            f"The delimiter {text[:64]!r} is not one character; give a character, `tab`, or an escape such as `\\x1f`.",
            code="invalid_value",
            param="delimiter",
        )
    return text


def separator_line(line: str) -> str | None:
    """The delimiter that a first line `sep=;` names, as Excel reads it; "" if it names none; None for another line."""
    found = _SEP_LINE.fullmatch(line)
    if found is None:
        return None
    name = found.group(2) or ""
    return "\t" if name.lower() in ("\\t", "tab") else name.strip(" ")


def names_columns(line: str) -> bool:
    """Whether a line is the header of a table with a question and an answer."""
    return any(are_known(line.strip().split(delimiter)) for delimiter in _USUAL if delimiter in line)


def escaped_line(line: str, delimiter: str) -> str:
    """The line without escapes by backslashes; signs are in the place of quotes and delimiters that are text."""
    signs = {'"': QUOTE_SIGN, delimiter: DELIMITER_SIGN, "\\": "\\", "\n": "\n"}
    return re.sub(r"\\(.)", lambda escape: signs.get(escape.group(1), escape.group()), line, flags=re.DOTALL)


def detect(lines: Sequence[str], *, given: str | None, named: str | None, expected: str | None) -> Detected:
    """The dialect of a table that begins with `lines`.

    `given` is the option, `named` the delimiter of a line `sep=`, `expected` the one that the file's name implies.
    Raises `PreparationRefused` (`delimiter_not_guessed`) where two delimiters give different columns.
    """
    lines = [line for line in lines if line.strip(_BLANK)]
    fixed = given or named
    if not lines:
        delimiter = fixed or expected or ","
        return Detected(Dialect(delimiter), Guess(value=delimiter, certainty="likely"), [])
    if fixed is not None:
        return _detected(_read(lines, fixed), "given" if given is not None else "certain")
    if expected is not None and (reading := _read(lines, expected)).headed == 2 and reading.width > 1:
        return _detected(reading, "certain")
    for delimiter in _CONTROL:
        reading = _read(lines, delimiter)
        if reading.headed and reading.width > 1 and reading.even >= _MIN_EVEN:
            return _detected(reading, "certain")
    readings = [_read(lines, delimiter) for delimiter in _USUAL]
    fitting = [reading for reading in readings if reading.width > 1]
    if not any(reading.even >= _MIN_EVEN for reading in fitting):
        spaced = all(line.startswith('"') and '" "' in line for line in lines)  # as R writes tables
        rare = [_read(lines, delimiter) for delimiter in (*_RARE, *((" ",) if spaced else ()))]
        fitting += [
            reading
            for reading in rare
            if reading.width > 1 and (reading.headed or reading.known == 2) and reading.even >= _MIN_EVEN
        ]
    if not fitting or (not any(reading.headed for reading in fitting) and _is_one_column(lines)):
        return _one_column(lines)
    fitting.sort(key=lambda reading: (reading.rank, reading.even, reading.width), reverse=True)
    best, *others = fitting
    rival = next((each for each in others if each.rank == best.rank), None)
    if rival is not None and min(best.even, rival.even) >= _MIN_EVEN:
        raise PreparationRefused(
            f"The delimiter of the table is not clear. With {best.dialect.delimiter!r} its first row is "
            f"{_shown(best.rows[0])}; with {rival.dialect.delimiter!r} it is {_shown(rival.rows[0])}. Give the option "
            "`delimiter`.",
            code="delimiter_not_guessed",
            param="delimiter",
        )
    if best.known == 2 and not any(each.known == 2 for each in others):
        return _detected(best, "certain")
    return _detected(best, "likely" if best.headed and best.even >= _MIN_EVEN else "uncertain")


def parse(lines: Iterable[str], dialect: Dialect, *, strict: bool = True) -> Iterable[list[str]]:
    """The parser of the standard library for a dialect; lines must be escaped before."""
    return csv.reader(lines, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=strict)


def _detected(reading: _Reading, certainty: Certainty) -> Detected:
    dialect, notes = reading.dialect, []
    if certainty == "uncertain":
        notes.append(
            f"The delimiter {dialect.delimiter!r} is an uncertain guess: the rows have different numbers of cells. The "
            "option `delimiter` gives another one."
        )
    if dialect.quote == "'":
        notes.append("Cells are quoted by single quotes.")
    if dialect.escaped:
        notes.append('A backslash escapes quotes inside of cells (`\\"`); it was removed.')
    return Detected(dialect, Guess(value=dialect.delimiter, certainty=certainty), notes)


def _one_column(lines: Sequence[str]) -> Detected:
    notes = []
    if any(delimiter in line for line in lines for delimiter in _USUAL):
        notes.append(
            "The table was read as one column, since the first row contains no delimiter; the option `delimiter` "
            "splits its rows."
        )
    return Detected(Dialect(_NO_DELIMITER), Guess(value=ONE_COLUMN, certainty="likely"), notes)


def _is_one_column(lines: Sequence[str]) -> bool:
    """Whether the first line is one word, as the name of a column is; a title has several."""
    return _ONE_WORD.fullmatch(lines[0]) is not None or is_known(lines[0])


def _read(lines: Sequence[str], delimiter: str) -> _Reading:
    dialect, rows = _rows(lines, delimiter)
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    widths = Counter(len(row) for row in filled)
    width = max(widths, key=lambda width: (widths[width] if width > 1 else 0, width), default=1)
    start = next((at for at, row in enumerate(filled) if len(row) == width), 0)
    known = next((at for at, row in enumerate(filled[:20]) if len(row) > 1 and are_known(row)), None)
    titled = _is_title(filled, start)
    table = filled[known if known is not None else start if titled else 0 :]
    header = table[0] if known is not None or not start else filled[0]
    unnamed = known is not None and len(header) == width - 1  # row numbers, as R writes them
    even = sum(len(row) == width for row in table) + unnamed
    cells = [cell for row in table for cell in row[1:] if cell]
    spaced = sum(cell.startswith(" ") for cell in cells)
    decimals = delimiter == "," and _are_decimal(lines)
    return _Reading(
        dialect=dialect,
        rows=table or [[]],
        width=width,
        headed=2 if len(header) == width else int(titled),
        known=2 if known is not None else int(bool(table) and len(table[0]) > 1 and any(map(is_known, table[0]))),
        even=even / len(table) if table else 0.0,
        is_prose=decimals or (bool(cells) and spaced * 2 > len(cells)),
    )


def _is_title(rows: Sequence[Sequence[str]], start: int) -> bool:
    """Whether the rows above the first one of the usual width are titles, and not the name of a single column."""
    return start * 2 < len(rows) and all(len(row) == 1 and _ONE_WORD.fullmatch(row[0]) is None for row in rows[:start])


def _are_decimal(lines: Sequence[str]) -> bool:
    """Whether commas stand between digits only, as decimal commas do."""
    commas = sum(line.count(",") for line in lines)
    return commas > 0 and sum(len(re.findall(r"\d,(?=\d)", line)) for line in lines) == commas


def _rows(lines: Sequence[str], delimiter: str) -> tuple[Dialect, list[list[str]]]:
    """The rows, read in the first of the dialects in which their quotes are well-formed."""
    quotes = [Dialect(delimiter)]
    if any('\\"' in line for line in lines):
        quotes.append(Dialect(delimiter, escaped=True))
    if _are_single_quoted(lines, delimiter):
        quotes.insert(0, Dialect(delimiter, quote="'"))
    for dialect in quotes:
        rows, faultless = _parsed(lines, dialect, strict=True)
        if faultless:
            return dialect, rows
    return Dialect(delimiter), _parsed(lines, Dialect(delimiter), strict=False)[0]


def _are_single_quoted(lines: Sequence[str], delimiter: str) -> bool:
    if any('"' in line for line in lines) or len(lines) < 2:
        return False
    sign = re.escape(delimiter)
    quoted = re.compile(rf"(?:^|{sign})'.*'(?:{sign}|$)")
    return sum(quoted.search(line.strip()) is not None for line in lines[1:]) >= _MIN_EVEN * (len(lines) - 1)


def _parsed(lines: Sequence[str], dialect: Dialect, *, strict: bool) -> tuple[list[list[str]], bool]:
    """The rows, and whether their quotes are well-formed; the last row may be cut off."""
    texts = [f"{escaped_line(line, dialect.delimiter) if dialect.escaped else line}\n" for line in lines]
    rows: list[list[str]] = []
    try:
        rows.extend(row for row in parse(texts, dialect, strict=strict) if row)
    except csv.Error as error:
        return rows, "unexpected end of data" in str(error) and len(rows) > 1
    return rows, True


def _shown(row: Sequence[str]) -> str:
    cells = " | ".join(f"`{cell[:_SHOWN_CHARS]}`" for cell in row[:_SHOWN_CELLS])
    return cells + (" | …" if len(row) > _SHOWN_CELLS else "")
