"""How plausible a decoded text is, in the language that fits it best: the check of a detector's guess.

The score of a text comes from its characters beyond ASCII and their neighbours: how frequent the letter is in the
language, whether a capital follows a small letter, whether a symbol stands inside a word, whether a word mixes scripts.
It is a logarithm of a probability (natural, at most 0): the difference between two readings of the same bytes says how
much likelier one of them is.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from functools import cache, lru_cache
from typing import Literal, TypeAlias

from service.datasets.encodings.letters import LATIN, OTHER, further_characters

_Kind: TypeAlias = Literal["none", "digit", "small", "capital", "foreign small", "foreign capital"]

_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")
_LATIN_LETTERS = ("small", "capital")
_LETTERS = (*_LATIN_LETTERS, "foreign small", "foreign capital")
_PLAIN_LETTER = re.compile("[A-Za-z]")
_WINDOW = re.compile(r"(?=(.)([^\x00-\x7f])(.))", re.DOTALL)
_CACHED = 1 << 16
_LISTED_SHARE = 0.6
"""Of the characters of Chinese, Japanese and Korean text, those that the table lists; the others are `further`."""
_FOREIGN_SHARE = {"Vietnamese": 0.3, "English": 0.02}
_USUAL_FOREIGN_SHARE = 0.1
"""Of the letters of a language in Latin script, those beyond ASCII."""

_UNUSUAL = math.log(2e-4)  # a letter of another language
_UNKNOWN = math.log(2e-6)  # a letter of no language in the table
_SYMBOL = math.log(1e-5)
_NEVER = math.log(1e-7)  # control characters, unassigned ones, U+FFFD
_MIXED_SCRIPTS = math.log(0.002)
_BESIDE_A_DIGIT = math.log(0.05)
_ALONE = math.log(0.1)
_INSIDE_A_WORD = math.log(0.002)
_APOSTROPHE = math.log(0.05)
_WRONG_SIDE = math.log(0.05)
_NOT_CLOSED = math.log(0.05)
_AFTER_SMALL = math.log(0.002)
_AFTER_CAPITAL = math.log(0.2)
_CAPITAL_FIRST = math.log(0.08)
_SMALL_AMONG_CAPITALS = math.log(0.02)

_PUNCTUATION = {
    **dict.fromkeys("’“”–—…„«»、。「」，！？：；（）“”《》", math.log(0.01)),
    **dict.fromkeys("\xa0‘€°‚•·§×", math.log(0.003)),
    **dict.fromkeys("©®™£²½¿¡‹›³µ±ºª¼¾¹†‰\xad", math.log(0.001)),
}
_WITHIN_WORDS = frozenset("’‘·\xad–—")
_PAIRS = (("„", "“”"), ("«", "»"), ("»", "«"))
_OPENING = frozenset("„‹¿¡§£‘“")
_CLOSING = frozenset("›”…°®™‰")


def plausibility(text: str) -> float:
    """The score of a text in the language that fits it best. A text of ASCII alone has the score 0."""
    score = _NOT_CLOSED * sum(
        max(0, text.count(opening) - sum(map(text.count, closing))) for opening, closing in _PAIRS
    )
    letters: Counter[str] = Counter()
    for (before, char, after), times in Counter(_WINDOW.findall(f" {text} ")).items():
        kind = _kind(char)
        if kind == "none":
            score += times * _symbol_score(char, _kind(before), _kind(after))
        else:
            letters[char.lower()] += times
            score += times * _place_score(char, kind, _kind(before), _kind(after))
    score += sum(times * _base_score(char) for char, times in letters.items())
    plain = len(_PLAIN_LETTER.findall(text))
    return score + max(
        _gain(letters, language) + plain * math.log(1 - _foreign_share(name)) for name, language in _languages().items()
    )


@lru_cache(maxsize=_CACHED)
def _kind(char: str) -> _Kind:
    if char.isalpha() or unicodedata.category(char)[0] == "M":
        if char < "\x80":
            return "capital" if char.isupper() else "small"
        return "foreign capital" if char.isupper() else "foreign small"
    return "digit" if char.isdecimal() else "none"


@lru_cache(maxsize=_CACHED)
def _symbol_score(char: str, before: _Kind, after: _Kind) -> float:
    in_a_word = before in _LETTERS and after in _LETTERS
    score = _PUNCTUATION.get(char)
    if score is None:
        if unicodedata.category(char) in ("Cc", "Cn", "Co") or char == "\ufffd":
            return _NEVER
        return _SYMBOL + (_INSIDE_A_WORD if in_a_word else 0.0)
    if in_a_word and char == "’":
        return _APOSTROPHE
    if in_a_word and char not in _WITHIN_WORDS:
        score += _INSIDE_A_WORD
    if char == "’" and before == "none" and after != "none":
        score += _WRONG_SIDE
    if (char in _OPENING and before != "none") or (char in _CLOSING and after != "none"):
        score += _WRONG_SIDE
    return score


@lru_cache(maxsize=_CACHED)
def _place_score(char: str, kind: _Kind, before: _Kind, after: _Kind) -> float:
    """How plausible a letter is at its place in a word, whatever the language."""
    score = 0.0
    if kind == "foreign capital":
        score = _CAPITAL_FIRST
        if before in ("small", "foreign small"):
            score = _AFTER_SMALL
        elif before in ("capital", "foreign capital"):
            score = _AFTER_CAPITAL
    elif before == after == "capital" and char.islower():
        score = _SMALL_AMONG_CAPITALS
    if before == "digit" or after == "digit":
        score += _BESIDE_A_DIGIT
    name = unicodedata.name(char, "")
    if name.startswith(_EAST_ASIAN):  # Latin words stand in such text without spaces
        score += _MIXED_SCRIPTS if before in _LATIN_LETTERS and after in _LATIN_LETTERS else 0.0
    elif not name.startswith(("LATIN", "COMBINING")):
        score += _MIXED_SCRIPTS * ((before in _LATIN_LETTERS) + (after in _LATIN_LETTERS))
    if kind == "foreign capital" and before == after == "none":
        score += _ALONE
    return score


@lru_cache(maxsize=_CACHED)
def _base_score(char: str) -> float:
    """The score of a letter in languages that do not have it."""
    return _UNUSUAL if char in _all_letters() else _UNKNOWN


def _gain(letters: Counter[str], language: dict[str, float]) -> float:
    """What the letters score in a language beyond their base score."""
    return sum(times * language[char] for char, times in letters.items() if char in language)


def _foreign_share(name: str) -> float:
    return _FOREIGN_SHARE.get(name, _USUAL_FOREIGN_SHARE)


@cache
def _languages() -> dict[str, dict[str, float]]:
    """The letters of each language with their scores beyond the base score."""
    return {name: _language(name, letters) for table in (LATIN, OTHER) for name, letters in table.items()}


def _language(name: str, letters: str) -> dict[str, float]:
    further = further_characters(name) - frozenset(letters)
    share = _foreign_share(name) if name in LATIN else _LISTED_SHARE if further else 1.0
    weights = {char: 1 / (place + 3) for place, char in enumerate(letters)}  # Zipf's law
    total = sum(weights.values())
    scores = {char: math.log(share * weight / total) for char, weight in weights.items()}
    if further:
        scores |= dict.fromkeys(further, math.log((1 - share) / len(further)))
    return {char: score - _base_score(char) for char, score in scores.items()}


@cache
def _all_letters() -> frozenset[str]:
    alphabets = [letters for name, letters in OTHER.items() if not further_characters(name)]
    return frozenset("".join([*LATIN.values(), *alphabets]))
