r"""Finds backslashes that JSON (or Python) took for escapes: `\frac` became a form feed and `rac`.

U+0007, backspace, vertical tab and form feed before the rest of a LaTeX command are certain. Tabs and line breaks are
common in texts, so before such a rest they are taken for broken escapes only inside `$…$`, or in a text that has a
certain one. Source of the commands: the Comprehensive LaTeX Symbol List, and amsmath's manual.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.datasets.checks.registry import Hit, text_check

SECTION = "Quality"
_LETTERS = {"\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r"}
_COMMANDS = (
    "alpha", "angle", "approx", "array", "arccos", "arcsin", "arctan", "aleph", "amalg", "ast", "asymp",
    "allowbreak", "bar", "beta", "begin", "because", "beth", "bf", "bigcap", "bigcup", "bigl", "bigr", "Bigl",
    "binom", "bigoplus", "bmod", "boldsymbol", "bot", "bowtie", "boxed", "bullet", "big", "bigg", "biggl", "biggr",
    "backslash", "bmatrix", "bm", "brace", "breve", "frac", "flat", "forall", "fbox", "footnote", "frown", "frak",
    "tan", "tanh", "tau", "text", "textbf", "textit", "textrm", "textsf", "texttt", "textsc", "tfrac", "theta",
    "therefore", "thickapprox", "tilde", "times", "to", "top", "tag", "triangle", "triangleq", "nabla", "natural",
    "ne", "nearrow", "neg", "neq", "newline", "nexists", "ni", "nmid", "nolimits", "nonumber", "not", "notag",
    "notin", "nparallel", "nu", "nsubseteq", "nwarrow", "varepsilon", "vec", "varphi", "vee", "vdots", "vert",
    "vartheta", "varrho", "varsigma", "varnothing", "vdash", "vspace", "vphantom", "Vert", "rangle", "rbrace",
    "rceil", "ref", "rfloor", "rho", "right", "rightarrow", "rightharpoonup", "rightleftharpoons", "rm", "root",
)  # fmt: skip
_WORDS = frozenset({"neg", "tan", "tau", "to", "top", "tag", "ne", "ni", "not", "nu", "rm", "root"})
"""Commands whose rest can be a word or its start (`an`, `o`, `u`): a line may begin with it."""


def _alternatives(first: str, *, without: frozenset[str] = frozenset()) -> str:
    rests = [command[1:] for command in _COMMANDS if command[0] == first and command not in without]
    return "|".join(sorted(rests, key=len, reverse=True))


def _pattern(chars: str, *, without: frozenset[str] = frozenset()) -> re.Pattern[str]:
    each = [f"{re.escape(char)}(?:{_alternatives(_LETTERS[char], without=without)})" for char in chars]
    return re.compile(f"(?:{'|'.join(each)})(?![a-z])")


_CERTAIN = _pattern("\a\b\v\f")
_LIKELY = _pattern("\t\n\r", without=_WORDS)
_IN_MATHEMATICS = _pattern("\t\n\r")
_MATHEMATICS = re.compile(r"\$[^$]{1,400}\$")
_SIGNS = re.compile(r"[\\^_{}=]")
_PATH = re.compile("(?<![A-Za-z0-9])[A-Za-z]:(?:[\a\b\t\n\v\f\r\\\\][A-Za-z0-9_.-]+)+")
_SURE_IN_PATH = re.compile("[\a\b\v\f]|:\t(?:emp|mp)(?![a-z])")
_WORD_BOUNDARIES = re.compile("(?<![A-Za-z0-9])\b[A-Za-z0-9_()|?]{2,60}\b(?![A-Za-z0-9])")
"""A regular expression such as `\\bword\\b`."""

_RARE = "\a\b\v\f"
_TEMPORARY = ":\t"
_ANY = re.compile("[\a\b\t\n\v\f\r]")


def broken_escapes(text: str) -> list[tuple[int, int]]:
    """The positions of characters that were a backslash and a letter: start and end of each, in ascending order."""
    found: set[int] = set()
    if any(char in text for char in _RARE):
        found.update(each.start() for each in _CERTAIN.finditer(text))
        for each in (*_WORD_BOUNDARIES.finditer(text), *_sure_paths(text)):
            found.update(each.start() + at.start() for at in _ANY.finditer(each.group()))
    elif _TEMPORARY in text:
        for each in _sure_paths(text):
            found.update(each.start() + at.start() for at in _ANY.finditer(each.group()))
    if found:
        found.update(each.start() for each in _LIKELY.finditer(text))
    if "$" in text and _IN_MATHEMATICS.search(text):
        for part in _MATHEMATICS.finditer(text):
            formula = part.group()
            sure = _SIGNS.search(formula) is not None
            for each in _IN_MATHEMATICS.finditer(formula):
                if sure or each.start() == 1 or _LIKELY.match(each.group()):
                    found.add(part.start() + each.start())
    return [(at, at + 1) for at in sorted(found)]


def _sure_paths(text: str) -> Iterator[re.Match[str]]:
    return (each for each in _PATH.finditer(text) if _SURE_IN_PATH.search(each.group()))


def with_backslashes(text: str) -> str:
    """The text with the backslash and letter of each broken escape."""
    for start, end in reversed(broken_escapes(text)):
        text = f"{text[:start]}\\{_LETTERS[text[start]]}{text[end:]}"
    return text


@text_check("unescaped_backslash", "warning", SECTION, pattern=rb"[\x07\x08\x0b\x0c$]", fix="restore_escapes")
def unescaped_backslash(text: str) -> Iterator[Hit]:
    """Backslashes were not escaped, so that a LaTeX command, a path or a regular expression lost its first letter:
    a form feed and `rac` for `\\frac`, a tab and `heta` for `\\theta`.
    """
    found = broken_escapes(text)
    if found:
        at = found[0][0]
        rest = re.match("[A-Za-z]{0,20}", text[at + 1 :])
        read = f"\\{_LETTERS[text[at]]}{rest.group() if rest else ''}"
        message = (
            f"The backslash of {read} is not escaped, so that it was read as U+{ord(text[at]):04X}: write \\{read}."
        )
        yield Hit("", text, message, at)
