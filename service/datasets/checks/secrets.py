"""Checks for secrets and personal data in texts, which are recognised by their form and check digits.

A model can repeat its training data to any user. Excerpts never show what was found: `excerpts` masks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from service.datasets.checks.registry import Hit, text_check
from service.datasets.excerpts import DIGIT_RUN, SECRET, SECRET_STARTS, emails

SECTION = "Quality"
_NINE_DIGITS = rb"[0-9](?:[ ()./-]{0,2}[0-9]){8}"
_MAIL_START = rb"[A-Za-z0-9._%+-]@[A-Za-z0-9-]"
_EXAMPLE_MAIL = re.compile(r"(?i)@(?:[a-z0-9-]+\.)*(?:example\.(?:com|org|net)|example|test|invalid|localhost)\Z")
_SSN = re.compile(r"(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}")
_CHINESE_ID = re.compile(r"[1-9][0-9]{5}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx]")
_CHINESE_MOBILE = re.compile(r"(?:\+?86)?1[3-9][0-9]{9}")
_PHONE_FORM = re.compile(
    r"\+[0-9][0-9 ()./-]{7,18}[0-9]|\(?[2-9][0-9]{2}\)?[ .-][0-9]{3}[ .-][0-9]{4}|0[0-9]{1,4}[ -][0-9]{6,8}"
)
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_SECRET_KINDS = (
    ("-----BEGIN", "a private key"),
    ("sk-", "an API key"),
    ("AKIA", "an AWS access key"),
    ("ASIA", "an AWS access key"),
    ("gh", "a GitHub token"),
    ("xox", "a Slack token"),
    ("AIza", "a Google API key"),
    ("eyJ", "a JSON web token"),
)


@text_check("secret_found", "warning", SECTION, pattern=SECRET_STARTS, fix="mask_secrets")
def secret_found(text: str) -> Iterator[Hit]:
    """A text contains an API key, an access token, a JSON web token or a private key. Revoke it and remove it."""
    for found in SECRET.finditer(text):
        kind = next((name for start, name in _SECRET_KINDS if found.group().startswith(start)), "an access token")
        yield Hit("", text, f"This looks like {kind}; revoke it, and replace it with a placeholder.", found.start())


@text_check("personal_email", "warning", SECTION, pattern=_MAIL_START, fix="mask_personal_data")
def personal_email(text: str) -> Iterator[Hit]:
    """A text contains an e-mail address. Addresses at example.com and similar domains are not reported."""
    for start, end in emails(text):
        if not _EXAMPLE_MAIL.search(text[start:end]):
            message = "This is an e-mail address; replace it with a placeholder unless it is meant to be public."
            yield Hit("", text, message, start)


@text_check("personal_card", "warning", SECTION, pattern=_NINE_DIGITS, fix="mask_personal_data")
def personal_card(text: str) -> Iterator[Hit]:
    """A text contains a payment card number: 13 to 19 digits with a known start and a valid check digit (Luhn)."""
    for at, _, digits in digit_runs(text):
        if 13 <= len(digits) <= 19 and is_card(digits):
            yield Hit("", text, "This looks like a payment card number; replace it with a placeholder.", at)


@text_check("personal_national_id", "warning", SECTION, pattern=_NINE_DIGITS, fix="mask_personal_data")
def personal_national_id(text: str) -> Iterator[Hit]:
    """A text contains a national id: a Chinese resident id with its check digit, or a US social security number."""
    for at, run, _ in digit_runs(text):
        if _SSN.fullmatch(run) or (_CHINESE_ID.fullmatch(run) and is_chinese_id(run)):
            yield Hit("", text, "This looks like a national id; replace it with a placeholder.", at)


@text_check("personal_phone", "warning", SECTION, pattern=_NINE_DIGITS, fix="mask_personal_data")
def personal_phone(text: str) -> Iterator[Hit]:
    """A text contains a phone number: international with a plus, Chinese mobile or land line, or North American."""
    for at, run, digits in digit_runs(text):
        if _CHINESE_MOBILE.fullmatch(digits) or (9 <= len(digits) <= 15 and _PHONE_FORM.fullmatch(run)):
            yield Hit("", text, "This looks like a phone number; replace it with a placeholder.", at)


@lru_cache(maxsize=4)
def digit_runs(text: str) -> tuple[tuple[int, str, str], ...]:
    """Every run of nine or more digits as (position, run with separators, digits). Cached for the next check."""
    return tuple(
        (found.start(), found.group(), re.sub(r"[^0-9Xx]", "", found.group())) for found in DIGIT_RUN.finditer(text)
    )


def is_card(digits: str) -> bool:
    """Whether digits start like a payment card number and pass the Luhn check (ISO/IEC 7812)."""
    if not digits.isdigit() or digits[0] not in "3456" or len(set(digits)) < 2:
        return False
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + index % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_chinese_id(number: str) -> bool:
    """Whether the last character of an 18-character resident id is its check digit (GB 11643-1999)."""
    total = sum(weight * int(digit) for weight, digit in zip(_ID_WEIGHTS, number, strict=False))
    return number[-1].upper() == "10X98765432"[total % 11]
