"""Makes short, masked excerpts of a team's data for findings.

Secrets and personal data are masked, with the same patterns that find them, before the text is cut; so are long runs of
characters that look like keys. Excerpts are masked because more people read a report than its file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import msgspec

EXCERPT_CHARS = 120
_MARGIN_CHARS = 8_200

SECRET = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[^-]{0,8000}(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?)?"
    r"|(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{20,}"
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{20,}"
    r"|xox[abprs]-[A-Za-z0-9-]{11,}"
    r"|AIza[A-Za-z0-9_-]{35}"
    r"|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
    r"|whsec_[A-Za-z0-9+/=_-]{16,}"
    r"|(?<![_-])eyJ[A-Za-z0-9_-]{13,}+\.eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}"
    r")"
)
"""Access tokens of known forms, JSON web tokens and private key blocks. Sources: the issuers' documentation."""

SECRET_STARTS = (
    rb"PRIVATE KEY|sk-[A-Za-z0-9_-]{20}|_(?:live|test)_[A-Za-z0-9]{8}|A[KS]IA[A-Z0-9]{8}|gh[pousr]_[A-Za-z0-9]{8}"
    rb"|github_pat_|glpat-|xox[abprs]-[A-Za-z0-9-]{8}|AIza[A-Za-z0-9_-]{8}|hf_[A-Za-z0-9]{8}|npm_[A-Za-z0-9]{8}"
    rb"|pypi-[A-Za-z0-9_-]{8}|SG\.[A-Za-z0-9_-]{8}|whsec_|eyJ[A-Za-z0-9_-]{8}"
)
"""A pattern for UTF-8 bytes that occurs at or near the start of every match of SECRET, and is faster to search."""

DIGIT_RUN = re.compile(r"(?<![0-9A-Za-z.])\+?\(?[0-9](?:[ ()./-]{0,2}[0-9]){8,18}[Xx]?(?![0-9A-Za-z])")
"""Nine or more digits in a row, with the separators of phone and card numbers between them."""

_AT_DOMAIN = re.compile(r"(?<=[A-Za-z0-9._%+-])@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z])")
_MAILBOX = re.compile(r"[A-Za-z0-9._%+-]{1,64}\Z")
_LONG_RUN = re.compile(r"[A-Za-z0-9+=_-]{32,}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u200b-\u200f\u202a-\u202e\u2060\ufeff]")


def excerpt(value: object, at: int = 0) -> str:
    """At most 120 characters of `value` around position `at`: masked, on one line, unprintable characters escaped."""
    text = value if isinstance(value, str) else _as_text(value)
    start = max(0, at - _MARGIN_CHARS)
    window = mask(text[start : at + EXCERPT_CHARS + _MARGIN_CHARS])
    first = at - start
    if first > 30:
        window, cut_before = window[first - 30 :], True
    else:
        cut_before = start > 0
    shown = _UNPRINTABLE.sub(lambda found: _escaped(found.group()), window[: EXCERPT_CHARS + 1])
    budget = EXCERPT_CHARS - cut_before
    if len(shown) > budget:
        shown = shown[: budget - 1] + "…"
    return ("…" if cut_before else "") + shown


def mask(text: str) -> str:
    """`text` with secrets, e-mail addresses and long runs of digits masked by stars, except their first 3 characters.

    The result has the same length as `text`.
    """
    text = mask_secrets(text)
    for start, end in emails(text):
        text = text[:start] + _starred(text[start:end]) + text[end:]
    text = DIGIT_RUN.sub(lambda found: _starred(found.group()), text)
    return _LONG_RUN.sub(lambda found: _starred(found.group()) if _is_key_like(found.group()) else found.group(), text)


def mask_secrets(text: str) -> str:
    """`text` with only secrets masked, in the same length: for JSON pointers."""
    return SECRET.sub(lambda found: _starred(found.group()), text)


def emails(text: str) -> Iterator[tuple[int, int]]:
    """The start and end of every e-mail address in `text`. Takes linear time for any text."""
    for found in _AT_DOMAIN.finditer(text):
        mailbox = _MAILBOX.search(text, max(0, found.start() - 64), found.start())
        if mailbox is not None:
            yield mailbox.start(), found.end()


def _starred(text: str) -> str:
    return text[:3] + "*" * (len(text) - 3)


def _is_key_like(run: str) -> bool:
    return (
        not run.isdigit() and any(map(str.isdigit, run)) and any(map(str.islower, run)) and any(map(str.isupper, run))
    )


def _escaped(character: str) -> str:
    known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return known.get(character) or f"\\u{ord(character):04x}"


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value[: EXCERPT_CHARS + _MARGIN_CHARS].decode("utf-8", "replace")
    try:
        return msgspec.json.encode(value).decode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return json.dumps(value, default=str)
