"""What a preparation reports of its input: how it was read, what was guessed how surely, and what was not used."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from service.datasets.parsing.decode import pointer_token
from service.datasets.preparation.options import Options
from service.datasets.preparation.outcome import Input
from service.datasets.preparation.scratch import Row
from service.datasets.shapes import Shape
from service.datasets.shapes.json_texts import parsed

MAX_UNUSED = 200
"""The places without use that are named; of further ones the values are counted together."""

_MANY_EMPTY = 0.1
_FURTHER = "(further)"
_WORDS = re.compile(r"\w+")
_WORD_CHARS = 3


_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""A key that is a UUID distinguishes values as a position in a list does."""


def notes_on_ignored(read: Input, options: Options) -> Iterator[str]:
    """A sentence for each option that says how to read the file and does not apply to a file of its kind."""
    ignored = {
        "encoding": options.encoding is not None and read.encoding.certainty != "given",
        "delimiter": options.delimiter is not None and read.delimiter is None,
        "header": options.header is not None and read.header is None,
        "sheet": options.sheet is not None and read.sheet is None,
    }
    for name in (name for name, is_ignored in ignored.items() if is_ignored):
        yield f"In this file ({read.format}) the option `{name}` has no effect."


def notes_on_empty(empty: Counter[str], rows: int) -> Iterator[str]:
    """A sentence for each place whose emptiness cost more than a tenth of the rows."""
    for place, count in empty.most_common():
        if count > rows * _MANY_EMPTY:
            yield (
                f"{count:,} of {rows:,} rows were dropped since {place}. If its value stands only in the first of "
                "several rows, as below a merged cell, repeat it in each; if another column has it, name that in the "
                "option `columns`."
            )


class Unused:
    """Counts the values of rows that are not in their examples, by column or pointer."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add_columns(self, row: Row, used: frozenset[str]) -> None:
        """Count the columns of a table's row that have a value and are not in `used`."""
        for name, value in row.items():
            if name not in used and value not in (None, "", [], {}):
                self.add(name)

    def add_lost(self, row: Row, examples: Iterable[Row], shape: Shape) -> None:
        """Count the values of a row that occur nowhere in its examples, except those of the shape's structure."""
        texts = _Texts(examples)
        for pointer, value in _leaves(row, ""):
            if value in (None, "") or shape.structure & set(_last_keys(pointer)):
                continue
            if not texts.contain(value, shape.markers):
                self.add(pointer)

    def add_removed(self, before: Any, after: Any, pointer: str = "") -> None:
        """Count the values of a row that a fix removed: keys that are missing, and items at the end of lists."""
        if isinstance(before, dict) and isinstance(after, dict):
            for key, value in before.items():
                place = f"{pointer}/{pointer_token(key)}"
                if key in after:
                    self.add_removed(value, after[key], place)
                elif value not in (None, "", [], {}):
                    self.add(place)
        elif isinstance(before, list) and isinstance(after, list):
            for index, value in enumerate(before):
                if index < len(after):
                    self.add_removed(value, after[index], f"{pointer}/*")
                else:
                    self.add(f"{pointer}/*")

    def add(self, place: str) -> None:
        """Count one value."""
        self.counts[place if place in self.counts or len(self.counts) < MAX_UNUSED else _FURTHER] += 1


class _Texts:
    """The values of examples. White space does not distinguish texts; a text of JSON is also what it contains."""

    def __init__(self, examples: Iterable[Row]) -> None:
        values = [leaf for example in examples for _, leaf in _leaves(example, "", with_json=True)]
        self._others = [value for value in values if value is not None and not isinstance(value, str)]
        self._joined = "\0".join(_plain(value) for value in values if isinstance(value, str))

    def contain(self, value: Any, markers: re.Pattern[str] | None) -> bool:
        """Whether a value is in the examples: a number or a short text as a word, a longer one as a part of a text.

        Of a text with `markers`, which stand between its parts, the parts may be in several texts.
        """
        if not isinstance(value, str):
            if any(type(other) is type(value) and other == value for other in self._others):
                return True
            value = json.dumps(value)
        text = _plain(value)
        if self._contain(text) or markers is None:
            return self._contain(text)
        text = _plain(markers.sub(" ", text))
        return bool(text) and (self._contain(text) or self._contain_parts(text))

    def _contain(self, text: str) -> bool:
        if text not in self._joined or len(text) > _WORD_CHARS:
            return text in self._joined
        return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", self._joined) is not None

    def _contain_parts(self, text: str) -> bool:
        if not any(each and each in text for each in self._joined.split("\0")):
            return False
        if set(text.split()) <= set(self._joined.replace("\0", " ").split()):
            return True
        return set(_WORDS.findall(text)) <= set(_WORDS.findall(self._joined))


def _plain(text: str) -> str:
    return " ".join(text.split())


def _last_keys(pointer: str) -> tuple[str, ...]:
    """How a shape may name the place in its `structure`: by the last key, or by the last two parts."""
    key = next((key for key in reversed(pointer.split("/")) if key != "*"), "")
    return key, key.lower(), "/".join(pointer.split("/")[-2:])


def _leaves(value: Any, pointer: str, *, with_json: bool = False) -> Iterator[tuple[str, Any]]:
    """Every value that is no list or object, with its pointer; `*` stands for a position in a list.

    A text of JSON is what it contains, and with `with_json` the text as well.
    """
    if isinstance(value, str) and value[:1] in ("[", "{"):
        if with_json:
            yield pointer, value
        value = parsed(value)
    if isinstance(value, dict):
        for key, inner in value.items():
            name = "*" if _ID.fullmatch(key) else key[:80].replace("~", "~0").replace("/", "~1")
            yield from _leaves(inner, f"{pointer}/{name}", with_json=with_json)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, f"{pointer}/*", with_json=with_json)
    else:
        yield pointer, value
