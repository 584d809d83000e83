"""Reads JSON that is not JSON Lines: arrays, objects one after another, and rows inside one object.

An array of any size is read value by value; only an object that contains all rows is read into memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from service.datasets.parsing.decode import decode_line
from service.datasets.parsing.json_faults import about
from service.datasets.preparation.mapping import list_names
from service.datasets.preparation.outcome import Guess
from service.datasets.preparation.readers.faulty import why_faulty
from service.datasets.preparation.readers.json_items import Items
from service.datasets.preparation.readers.json_scan import MAX_ITEM_VALUES, CutOff, json_texts
from service.datasets.preparation.readers.reading import Reading, Source
from service.datasets.preparation.readers.text import Text
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.preparation.scratch import NumberedRow, Row
from service.datasets.shapes.containers import RowsInside, description_of, rows_inside

_TRAINING = ("train", "training")
_INCOMPLETE = "its download or export is incomplete. Fetch or export it again"


def read_json(reading: Reading, text: Text) -> Source:
    """The rows of a JSON file, numbered as its items."""
    notes = text.notes
    items = Items(notes, reading.options.header, max_values=MAX_ITEM_VALUES)
    pieces = (piece.encode("utf-8", "replace") for piece in text.pieces())
    values = _decoded(reading, json_texts(pieces), items, notes)
    first, second = next(values, None), next(values, None)
    if first is None or "drop_unreadable" not in reading.fixes:
        reading.problems.check()
    if first is None:
        raise PreparationRefused("The file holds no JSON object.")
    source = Source(kind="json", encoding=text.guess, unit="item", rows=iter(()), notes=notes)
    if second is None and (description := description_of(first[1])) is not None:
        raise PreparationRefused(f"The file is {description}. Give the rows, such as those of Dataset.to_json.")
    inside = rows_inside(first[1]) if second is None else None
    if inside is not None:
        return _choose_rows(source, inside, first[1], reading.options.sheet)
    if reading.options.sheet is not None:
        raise PreparationRefused(
            "The option `sheet` names a list of rows inside one JSON object, and the file has none.",
            code="invalid_value",
            param="sheet",
        )
    source.rows = chain((first,), () if second is None else (second,), values)
    if items.columns is not None:
        source.header = Guess(value="true", certainty="likely" if reading.options.header is None else "given")
    return source


def contains_rows(line: bytes) -> bool:
    """Whether one line is an object that contains rows or describes them, or is several values."""
    value, _ = decode_line(line, 0, max_values=MAX_ITEM_VALUES)
    if value is not None:
        return rows_inside(value) is not None or description_of(value) is not None
    try:
        return len(list(islice(json_texts([line]), 2))) > 1
    except (CutOff, PreparationRefused):
        return False


def _decoded(reading: Reading, texts: Iterable[bytes], items: Items, notes: list[str]) -> Iterator[NumberedRow]:
    number = 0
    try:
        for number, text in enumerate(texts, start=1):
            rows, faults = items.rows(text)
            if faults:
                item = text.decode("utf-8", "replace")
                reading.problems.unreadable("item", number, item, about(why_faulty(item, faults), "item"))
            else:
                yield from ((number, row) for row in rows)
    except CutOff as cut:
        if cut.rest:
            message = f"the file ends in the middle of it, in line {cut.line:,}, so {_INCOMPLETE}"
            reading.problems.unreadable("item", number + 1, cut.rest.decode("utf-8", "replace"), message)
        elif "drop_unreadable" in reading.fixes:
            notes.append(f"The array is not closed: the file ends after item {number:,}, so {_INCOMPLETE}.")
        else:
            message = f"the array is not closed, so {_INCOMPLETE}, or keep what is complete (drop_unreadable)"
            reading.problems.add(f"line {cut.line}", message)


def _choose_rows(source: Source, inside: RowsInside, value: Row, sheet: str | None) -> Source:
    """Reads the only list of rows, the one that the option names, or the split called train."""
    counts = {place: len(rows) for place, rows in inside.by_place.items()}
    place = _place(list(counts), sheet)
    rest = {other: count for other, count in counts.items() if other != place}
    source.rows = enumerate(inside.by_place[place], start=1)
    if inside.layout == "ids":
        names = list(value)
        if not all(name.isdecimal() for name in names):
            source.notes.append(f"Each value of the object is a row; its key ({list_names(names[:3])} …) is not used.")
    if place:
        source.sheet = place
        others = f"; beside it are {list_names(inside.others)}, which are in no example" if inside.others else ""
        source.notes.append(f"The rows are those of the list at {place} in one JSON object{others}.")
    if rest:
        source.sheets_not_read = list(rest)
        listed = ", ".join(f"{other} ({count:,} row{'' if count == 1 else 's'})" for other, count in rest.items())
        source.notes.append(f"Not read: {listed}. Prepare the file again with the option `sheet` to read another.")
    total = value.get("num_rows_total")
    if isinstance(total, int) and total > counts[place]:
        source.notes.append(f"The file is a page of {counts[place]:,} of {total:,} rows; fetch the others too.")
    return source


def _place(places: list[str], sheet: str | None) -> str:
    names = {place: place.rpartition("/")[2] for place in places}
    if sheet is not None:
        found = [place for place in places if sheet in (place, names[place])]
        if len(found) != 1:
            raise PreparationRefused(
                f"There is no list {sheet[:64]!r}, or more than one; the object has {', '.join(places)[:400]}.",
                code="invalid_value",
                param="sheet",
            )
        return found[0]
    if len(places) == 1:
        return places[0]
    training = [place for place in places if names[place].lower() in _TRAINING]
    if len(training) == 1:
        return training[0]
    raise PreparationRefused(
        f"The object has several lists of rows: {', '.join(places)[:400]}. Name one in the option `sheet`.",
        param="sheet",
    )
