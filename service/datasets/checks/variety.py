"""Checks of variety in the whole file: balance of labels, repeated openings, languages, lengths, repeated prompts."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from service.datasets.checks.registry import Hit, LocatedHit, dataset_check, declare
from service.datasets.parsing.formats import Example
from service.datasets.statistics import quantiles

Key = TypeVar("Key")

SECTION = "Quality"
_MIN_ROWS = 20
_MAX_LABEL_CHARS = 40
_MAX_LABELS = 1_000
_MAX_SHARE_OF_A_LABEL = 0.8
_MIN_ROWS_OF_A_LABEL = 3
_OPENING_SHARE = 0.3
_MIN_OPENING_ANSWER_CHARS = 30
_OUTLIER_FACTOR = 20
_MIN_OUTLIER_CHARS = 2_000
_MAX_OUTLIERS = 10_000
_MIXED_SHARE = 0.05
_LOW_VARIETY = 0.3
_MAX_VARIETY_LINES = 200_000
_MUCH_CHINESE = re.compile("(?:[^\u4e00-\u9fff]*+[\u4e00-\u9fff]){31}")
_MUCH_LATIN = re.compile("(?:[^A-Za-z]*+[A-Za-z]){151}")
"""Prefilters: so many of an answer's first characters are of this script that no other script can be the main one."""
_SCRIPTS = {
    "J": ("Japanese", 0x3040, 0x30FF),
    "K": ("Korean", 0xAC00, 0xD7A3),
    "C": ("Chinese", 0x4E00, 0x9FFF),
    "R": ("Cyrillic", 0x0400, 0x04FF),
    "A": ("Arabic", 0x0600, 0x06FF),
    "H": ("Hebrew", 0x0590, 0x05FF),
    "D": ("Devanagari", 0x0900, 0x097F),
    "T": ("Thai", 0x0E00, 0x0E7F),
    "G": ("Greek", 0x0370, 0x03FF),
}
"""A symbol for each script other than the Latin one, with its name, first and last character."""
_LATIN, _OTHER = "L", " "
_FENCE = re.compile(r"```.*?(?:```|$)", re.DOTALL)

LABEL_IMBALANCE = declare(
    "label_imbalance",
    "warning",
    SECTION,
    "The answers are labels, and one of them has over 80 % of the rows or fewer than three rows.",
    scope="dataset",
)
LABEL_VARIANTS = declare(
    "label_variants",
    "warning",
    SECTION,
    "The answers are labels, and some differ only in case, white space or punctuation, so one class has two names.",
    scope="dataset",
)
REPEATED_OPENING = declare(
    "repeated_opening",
    "warning",
    SECTION,
    "Over 30 % of the answers start with the same words. The model will start its answers to all questions with them.",
    scope="dataset",
)
MIXED_LANGUAGES = declare(
    "mixed_languages",
    "warning",
    SECTION,
    "The answers are in different scripts, each in 5 % or more of the rows. This is fine if it is intended.",
    scope="dataset",
)
LENGTH_OUTLIER = declare(
    "length_outlier",
    "warning",
    SECTION,
    "An example is over 20 times as long as the median example and has over 2,000 characters.",
    scope="dataset",
)
LOW_VARIETY = declare(
    "low_variety",
    "warning",
    SECTION,
    "Fewer than 30 % of the prompts are different: the file repeats a few questions.",
    scope="dataset",
)


@dataset_check(formats=("chat", "completion"))
class Labels:
    """Counts the answers if all of them are short enough to be labels. Stops at the first answer that is not."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first_line: dict[str, int] = {}
        self._are_labels = True

    def add(self, examples: Sequence[Example]) -> None:
        """Counts the answers of a batch if all are short."""
        answers = [(example.answer, example.line) for example in examples if example.answer]
        self._are_labels = max([len(answer) for answer, _ in answers], default=0) <= _MAX_LABEL_CHARS
        if self._are_labels:
            for answer, line in answers:
                self._counts[answer] += 1
                self._first_line.setdefault(answer, line)

    def merge(self, later: Labels) -> None:
        """Adds the counts, up to 1,000 different answers."""
        self._are_labels = self._are_labels and later._are_labels
        if self._are_labels:
            self._counts.update(later._counts)
            self._first_line = later._first_line | self._first_line
            self._are_labels = len(self._counts) <= _MAX_LABELS
        if not self._are_labels:
            self._counts, self._first_line = Counter(), {}

    def finish(self) -> Iterable[LocatedHit]:
        """Imbalance and variants of labels."""
        total = self._counts.total()
        if not self._are_labels or total < _MIN_ROWS or len(self._counts) * 3 > total:
            return
        by_name: dict[str, list[str]] = {}
        for label in self._counts:
            by_name.setdefault(re.sub(r"[\W_]+", "", label).casefold(), []).append(label)
        for name, labels in by_name.items():
            if name and len(labels) > 1:
                shown = ", ".join(repr(label) for label in labels[:4])
                message = f"{shown} seem to be one label; write it the same way everywhere."
                yield LocatedHit(
                    LABEL_VARIANTS, min(self._first_line[label] for label in labels[1:]), Hit("", "", message)
                )
        label, count = self._counts.most_common(1)[0]
        if len(self._counts) > 1 and count > total * _MAX_SHARE_OF_A_LABEL:
            message = f"The label {label!r} has {100 * count // total} % of {total:,} rows; add examples of the others."
            yield LocatedHit(LABEL_IMBALANCE, self._first_line[label], Hit("", label, message))
        rare = [label for label, times in self._counts.items() if times < _MIN_ROWS_OF_A_LABEL]
        if len(self._counts) > 1 and rare:
            shown = ", ".join(repr(label) for label in rare[:4])
            message = f"{len(rare)} labels have fewer than {_MIN_ROWS_OF_A_LABEL} rows ({shown}); add examples of them."
            yield LocatedHit(LABEL_IMBALANCE, self._first_line[rare[0]], Hit("", rare[0], message))

    def notes(self) -> Iterable[str]:
        """None: the findings are complete."""
        return ()


@dataset_check(formats=("chat", "completion", "preference"))
class Openings:
    """Counts the first three words of answers, or their first six characters in a script without spaces.

    Stores the hash of each opening (12 bytes for each answer), and the words of openings that are frequent in some
    batch: an opening that is frequent in the whole file must be frequent in some batch.
    """

    def __init__(self) -> None:
        self._keys = array("q")
        self._lines = array("I")
        self._words: dict[int, str] = {}

    def add(self, examples: Sequence[Example]) -> None:
        """Records the openings of a batch."""
        heads = [
            (example.answer[:60], example.line)
            for example in examples
            if len(example.answer) >= _MIN_OPENING_ANSWER_CHARS
        ]
        openings = [
            " ".join(head.split(None, 3)[:3]) if head.isascii() else head.lstrip()[:6]  # three words, or six characters
            for head, _ in heads
        ]
        self._keys.extend(map(hash, openings))
        self._lines.extend([line for _, line in heads])
        self._words |= {hash(opening): opening for opening, _ in _common_keys(Counter(openings), len(openings))}

    def merge(self, later: Openings) -> None:
        """Appends the openings of later examples."""
        self._keys += later._keys
        self._lines += later._lines
        self._words |= later._words

    def finish(self) -> Iterable[LocatedHit]:
        """One finding for each opening in over 30 % of the answers; there can be at most three."""
        answers = len(self._keys)
        if answers >= _MIN_ROWS:
            for key, count in _common_keys(Counter(self._keys), answers):
                opening = self._words[key]
                share = 100 * count // answers
                message = f"{share} % of the answers start with {opening!r}; vary or remove it unless it is intended."
                yield LocatedHit(REPEATED_OPENING, self._lines[self._keys.index(key)], Hit("", opening, message))

    def notes(self) -> Iterable[str]:
        """None: the findings are complete."""
        return ()


@dataset_check(formats=("chat", "completion", "preference"))
class Languages:
    """Counts the scripts of answers, by their first 200 characters outside of code."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first_line: dict[str, int] = {}

    def add(self, examples: Sequence[Example]) -> None:
        """Counts the scripts of a batch."""
        scripts = [(script, example.line) for example in examples if (script := script_of(example.answer))]
        self._counts.update([script for script, _ in scripts])
        self._first_line = dict(reversed(scripts)) | self._first_line

    def merge(self, later: Languages) -> None:
        """Adds the counts of later examples."""
        self._counts.update(later._counts)
        self._first_line = later._first_line | self._first_line

    def finish(self) -> Iterable[LocatedHit]:
        """At most one finding, at the first row of the second most frequent script."""
        total = self._counts.total()
        common = [(name, count) for name, count in self._counts.most_common() if count >= total * _MIXED_SHARE]
        if total >= _MIN_ROWS and len(common) > 1:
            shares = ", ".join(f"{name} {100 * count // total} %" for name, count in common)
            message = f"The answers are in several scripts ({shares}); separate them unless that is intended."
            yield LocatedHit(MIXED_LANGUAGES, self._first_line[common[1][0]], Hit("", "", message))

    def notes(self) -> Iterable[str]:
        """None: the findings are complete."""
        return ()


@dataset_check()
class Lengths:
    """Counts characters per example, and finds examples that are much longer than the median."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._long: list[tuple[int, int]] = []

    def add(self, examples: Sequence[Example]) -> None:
        """Counts the lengths of a batch in steps of 16 characters, and records the lines of long examples."""
        lengths = [sum(map(len, example.texts)) for example in examples]
        self._counts.update([length >> 4 for length in lengths])
        self._long += [
            (example.line, length)
            for example, length in zip(examples, lengths, strict=True)
            if length > _MIN_OUTLIER_CHARS
        ]

    def merge(self, later: Lengths) -> None:
        """Adds the counts, and the long examples up to 10,000."""
        self._counts.update(later._counts.elements())
        self._long += later._long[: _MAX_OUTLIERS - len(self._long)]

    def finish(self) -> Iterable[LocatedHit]:
        """Every outlier among the first 10,000 long examples."""
        if self._counts.total() < _MIN_ROWS:
            return
        median = max(quantiles(self._counts, (0.5,))[0] * 16, 16.0)
        for line, length in self._long:
            if length > median * _OUTLIER_FACTOR:
                message = (
                    f"This example has {length:,} characters; the median is {median:,.0f}. Check that it belongs here."
                )
                yield LocatedHit(LENGTH_OUTLIER, line, Hit("", "", message))

    def notes(self) -> Iterable[str]:
        """Says that only the first long examples were checked, if there are more."""
        if len(self._long) == _MAX_OUTLIERS:
            yield f"Length outliers were searched only among the first {_MAX_OUTLIERS:,} long examples."


@dataset_check(formats=("chat", "completion", "preference"))
class Variety:
    """Counts the different prompts in the first 200,000 lines."""

    def __init__(self) -> None:
        self._prompts = array("q")
        self._first_line = 0
        self._more = False

    def add(self, examples: Sequence[Example]) -> None:
        """Records the hashes of a batch's prompts."""
        for example in examples:
            if example.line > _MAX_VARIETY_LINES:
                self._more = True
                return
            if example.answer and example.has_prompt:
                self._first_line = self._first_line or example.line
                self._prompts.append(example.prompt_key)

    def merge(self, later: Variety) -> None:
        """Appends the hashes of later examples."""
        self._prompts += later._prompts
        self._first_line = self._first_line or later._first_line
        self._more = self._more or later._more

    def finish(self) -> Iterable[LocatedHit]:
        """At most one finding, at the first row."""
        rows, different = len(self._prompts), len(set(self._prompts))
        if rows >= _MIN_ROWS and different < rows * _LOW_VARIETY:
            message = f"Only {different:,} of {rows:,} prompts are different; add other questions."
            yield LocatedHit(LOW_VARIETY, self._first_line, Hit("", "", message))

    def notes(self) -> Iterable[str]:
        """Says that only the first lines were counted, if the file has more."""
        if self._more:
            yield f"The variety of prompts was computed from the first {_MAX_VARIETY_LINES:,} lines."


class _Symbols(dict[int, str]):
    """The symbol of each character's script, for `str.translate`. Those of two bytes are computed once."""

    def __missing__(self, code: int) -> str:
        symbol = _LATIN if code < 0x80 and chr(code).isalpha() else _OTHER
        symbol = next((one for one, (_, first, last) in _SCRIPTS.items() if first <= code <= last), symbol)
        if code <= 0xFFFF:
            self[code] = symbol
        return symbol


_SYMBOLS = _Symbols()


def _common_keys(counts: Counter[Key], answers: int) -> list[tuple[Key, int]]:
    return [(key, count) for key, count in counts.most_common(3) if count > answers * _OPENING_SHARE]


def script_of(answer: str) -> str | None:
    """The main script of an answer's first 200 characters; None if there are too few letters."""
    head = answer[:200]
    if head.isascii():
        return "Latin" if len(head) >= 10 and "```" not in head[:20] else None
    if _MUCH_CHINESE.match(head[:60]):
        return "Chinese"
    head = _FENCE.sub("", head) if "```" in head else head
    if _MUCH_LATIN.match(head):
        return "Latin"
    letters = head.translate(_SYMBOLS)
    max_count, name = max([(letters.count(symbol), name) for symbol, (name, _, _) in _SCRIPTS.items()])
    if name == "Chinese" and "J" in letters:
        name = "Japanese"
    latin = letters.count(_LATIN)
    if max_count * 3 >= latin and max_count >= 4:
        return name
    return "Latin" if latin >= 10 else None
