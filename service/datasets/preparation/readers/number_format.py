"""Shows numbers as a spreadsheet does: percentages, leading zeros, thousands, currencies, fractions, exponents.

Sources: ECMA-376 part 1, 18.8.30 (`numFmt`, with the built-in formats) and 18.8.31 (`numFmts`, the codes); [MS-LCID].
Dates and times are not shown here, and neither are formats with conditions: such cells are shown without a format. The
separators are those of the locale that a format names, as in `[$€-407]`, and English ones otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

BUILT_IN = {
    1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 5: '"$"#,##0;-"$"#,##0', 6: '"$"#,##0;-"$"#,##0',
    7: '"$"#,##0.00;-"$"#,##0.00', 8: '"$"#,##0.00;-"$"#,##0.00', 9: "0%", 10: "0.00%", 11: "0.00E+00",
    12: "# ?/?", 13: "# ??/??", 37: "#,##0;(#,##0)", 38: "#,##0;(#,##0)", 39: "#,##0.00;(#,##0.00)",
    40: "#,##0.00;(#,##0.00)", 41: "#,##0", 42: '"$"#,##0', 43: "#,##0.00", 44: '"$"#,##0.00',
    18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm", 21: "h:mm:ss", 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0",
}  # fmt: skip
"""The codes of the built-in formats that change how a number or a time reads. Those of currencies depend on the locale
of the reader; these are the English ones."""

MAX_CODE_CHARS = 255
"""As in Excel."""

_MAX_DECIMALS = 30
_CACHED = 4_096
_CONTEXT = Context(prec=400)  # the largest double has 309 digits
_RUN_OF_SPACES = re.compile(" {2,}")
_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|_(?P<space>.)|\*.|\[(?P<bracket>[^\]]*)\]|(?P<digits>[0#?])|(?P<point>\.)|'
    r"(?P<comma>,)|(?P<percent>%)|(?P<exponent>[eE][+-])|(?P<slash>/)|(?P<general>general)|"
    r"(?P<time>am/pm|a/p|[ymdhsg]+)|(?P<text>@)|(?P<other>.)",
    re.IGNORECASE | re.DOTALL,
)
_COLOUR = re.compile(r"(?:black|blue|cyan|green|magenta|red|white|yellow|color ?\d+)", re.IGNORECASE)
_CURRENCY = re.compile(r"\$(?P<symbol>[^-]*)(?:-(?P<locale>[0-9A-Fa-f]+))?")
_POINTS = frozenset({0x07, 0x10, 0x0A, 0x16, 0x13, 0x1F, 0x21, 0x06, 0x08, 0x1A, 0x24, 0x2A})
"""Languages (the low byte of a locale) that write 1.234,5; those of `_SPACES` write 1 234,5."""
_SPACES = frozenset({0x0C, 0x19, 0x15, 0x05, 0x22, 0x1D, 0x14, 0x0B, 0x0E, 0x02, 0x1B, 0x25, 0x26, 0x27, 0x23})


class Shown(NamedTuple):
    """A number as it is shown, and whether digits are hidden by that."""

    text: str
    is_rounded: bool


class Clock(NamedTuple):
    """How a format shows times and durations: its largest unit, whether that is counted beyond its end (a duration),
    and whether it shows two digits of it, seconds, and AM or PM.
    """

    unit: Literal["h", "m", "s"]
    is_duration: bool
    is_padded: bool
    seconds: bool
    noon: bool

    def show(self, seconds: float) -> str:
        """The text for a number of seconds."""
        total = round(abs(seconds))
        if not self.is_duration:
            total %= 86_400
        if not self.seconds:
            total -= total % 60
        minutes, rest = divmod(total, 60)
        hours, minute = divmod(minutes, 60)
        shown = (hours - 1) % 12 + 1 if self.noon else hours
        units = {"h": [shown, minute, rest], "m": [minutes if self.is_duration else minute, rest, 0], "s": [total]}
        parts = units[self.unit][: 1 if self.unit == "s" else 3 - (self.unit == "m") - (not self.seconds)]
        text = ":".join([f"{parts[0]:0{1 + self.is_padded}}", *(f"{part:02}" for part in parts[1:])])
        return f"{'-' if seconds < 0 else ''}{text}{(' PM' if hours >= 12 else ' AM') if self.noon else ''}"


class Format(NamedTuple):
    """How cells with a format are shown: `show` for a number, `clock` for a time of day or a duration."""

    show: Callable[[float], Shown] | None
    clock: Clock | None = None


class _Section(NamedTuple):
    """A part of a code: its literals and placeholders in order, as (kind, text)."""

    tokens: list[tuple[str, str]]
    locale: int


class _Unknown(Exception):
    """A code that is not shown here."""


def parse_format(code: str) -> Format | None:
    """The format of a code; None for one that shows numbers as they are, or is not understood."""
    if len(code) > MAX_CODE_CHARS:
        return None
    clock = _clock(code)
    if clock is not None:
        return Format(None, clock)
    try:
        sections = [_section(part) for part in _split(code)]
    except _Unknown:
        return None
    kinds = {kind for section in sections for kind, _ in section.tokens}
    if not kinds & {"digits"}:
        return None
    return Format(lru_cache(_CACHED)(lambda value: _show(float(value), sections)))


def plain_number(value: float) -> str:
    """A number without a format: 15 digits, as spreadsheets calculate, so 0.1 + 0.2 is 0.3."""
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    text = format(value, ".15g")
    if "e" not in text:
        return text
    return str(int(Decimal(text))) if 1e15 <= abs(value) < 1e21 else text.upper()


def _show(value: float, sections: list[_Section]) -> Shown:
    negative = value < 0
    number = abs(Decimal(format(value, ".15g")))
    if len(sections) > 2 and number == 0 and sections[2].tokens:
        section, negative = sections[2], False
    elif negative and len(sections) > 1:
        section, negative = sections[1], False
    else:
        section = sections[0]
    if not any(kind == "digits" for kind, _ in section.tokens):  # hidden, or replaced by a text
        literal = "".join(text for _, text in section.tokens).strip()
        return Shown(literal or plain_number(value), bool(literal) and number != 0)
    text, is_exact = _number(number, section)
    sign = "-" if negative and any(digit in text for digit in "123456789") else ""
    return Shown(sign + _RUN_OF_SPACES.sub(" ", text).strip(), not is_exact)


def _number(number: Decimal, section: _Section) -> tuple[str, bool]:
    kinds = [kind for kind, _ in section.tokens]
    if "exponent" in kinds:
        return _scientific(number, section)
    if "slash" in kinds:
        return _fraction(number, section)
    last = max(at for at, kind in enumerate(kinds) if kind == "digits")
    point = kinds.index("point") if "point" in kinds else len(kinds)
    thousands = sum(kind == "comma" for kind in kinds[last + 1 :]) if point > last else 0
    scaled = number.scaleb(2 * kinds.count("percent") - 3 * thousands, context=_CONTEXT)
    places = sum(kind == "digits" for kind in kinds[point + 1 :])
    rounded = scaled.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP, context=_CONTEXT)
    whole, _, decimals = format(rounded, "f").partition(".")
    grouped = any(kind == "comma" for kind in kinds[:last])
    decimal_separator, group_separator = _separators(section.locale)
    before = _whole(section.tokens[:point], whole, group_separator if grouped else "")
    after = _decimals(section.tokens[point:], decimals, decimal_separator)
    return before + after, rounded == scaled


def _whole(tokens: list[tuple[str, str]], whole: str, group_separator: str) -> str:
    """The part before the point: digits fill the placeholders from the right, the first one takes what is left."""
    places = [at for at, (kind, _) in enumerate(tokens) if kind == "digits"]
    least = next((len(places) - at for at, place in enumerate(places) if tokens[place][1] == "0"), 0)
    digits = ("" if whole == "0" else whole).rjust(least, "0")
    if group_separator:
        digits = _grouped(digits, group_separator)
        literals = [text for kind, text in tokens[: places[0]] if kind == "literal"] if places else []
        rest = [text for kind, text in tokens[places[-1] + 1 :] if kind == "literal"] if places else []
        return "".join((*literals, digits, *rest))
    parts: list[str] = []
    for at in range(len(tokens) - 1, -1, -1):
        kind, text = tokens[at]
        if kind == "digits":
            taken = digits if at == places[0] else digits[-1:]
            digits = digits[: len(digits) - len(taken)]
            parts.append(taken or (" " if text == "?" else ""))
        elif kind in ("literal", "percent"):
            parts.append(text)
    return "".join(reversed(parts))


def _grouped(digits: str, separator: str) -> str:
    first = len(digits) % 3
    groups = [digits[:first], *(digits[at : at + 3] for at in range(first, len(digits), 3))]
    return separator.join(group for group in groups if group)


def _decimals(tokens: list[tuple[str, str]], decimals: str, separator: str) -> str:
    places = [text for kind, text in tokens if kind == "digits"]
    shown = len(decimals)
    while shown and places[shown - 1] != "0" and decimals[shown - 1] == "0":
        shown -= 1
    parts, at = [], 0
    for kind, text in tokens:
        if kind == "digits":
            parts.append(decimals[at] if at < shown else "")
            at += 1
        elif kind == "point":
            parts.append(separator if shown else "")
        elif kind in ("literal", "percent"):
            parts.append(text)
    return "".join(parts)


def _scientific(number: Decimal, section: _Section) -> tuple[str, bool]:
    kinds = [kind for kind, _ in section.tokens]
    at = kinds.index("exponent")
    mantissa = [kind for kind in kinds[:at] if kind in ("digits", "point")]
    places = mantissa[mantissa.index("point") + 1 :].count("digits") if "point" in mantissa else 0
    least = kinds[at:].count("digits")
    text, _, power = format(number, f".{min(places, _MAX_DECIMALS)}E").partition("E")
    sign = "-" if power.startswith("-") else "+" if section.tokens[at][1].endswith("+") else ""
    exponent = power.lstrip("+-").lstrip("0").rjust(least, "0")
    shown = f"{text}E{sign}{exponent}"
    return shown.replace(".", _separators(section.locale)[0]), Decimal(f"{text}E{power}") == number


def _fraction(number: Decimal, section: _Section) -> tuple[str, bool]:
    kinds = [kind for kind, _ in section.tokens]
    at = kinds.index("slash")
    below = "".join(text for kind, text in section.tokens[at + 1 :] if kind in ("digits", "literal")).strip()
    exact = Fraction(number)
    if below.isdigit() and int(below):
        shown = Fraction(round(exact * int(below)), int(below))
        over = round(exact * int(below)) % int(below), int(below)
    else:
        places = max(1, min(3, sum(map(below.count, "?#0"))))
        shown = exact.limit_denominator(10**places - 1)
        over = shown.numerator % shown.denominator, shown.denominator
    mixed = any(kind == "literal" and text == " " for kind, text in section.tokens[:at])
    if not mixed:
        return f"{shown.numerator}/{shown.denominator}", shown == exact
    whole = shown.numerator // shown.denominator
    parts = ([str(whole)] if whole or not over[0] else []) + ([f"{over[0]}/{over[1]}"] if over[0] else [])
    return " ".join(parts), shown == exact


def _separators(locale: int) -> tuple[str, str]:
    """The separators of decimals and of thousands of a locale."""
    language = locale & 0xFF
    if locale and language in _POINTS and locale not in (0x080A, 0x0807):  # not of Mexico and Switzerland
        return ",", "."
    return (",", "\u00a0") if locale and language in _SPACES else (".", ",")


def _split(code: str) -> list[str]:
    """The sections of a code: for positive and negative numbers, zero and text."""
    parts, at = [""], 0
    for token in _TOKEN.finditer(code):
        if token.group("other") == ";":
            parts.append("")
        else:
            parts[-1] += token.group()
        at = token.end()
    return parts[:3] if at == len(code) else []


def _section(code: str) -> _Section:
    tokens: list[tuple[str, str]] = []
    locale = 0
    for token in _TOKEN.finditer(code):
        kind, text = token.lastgroup, token.group()
        match kind:
            case "quoted" | "escaped" | "other":
                tokens.append(("literal", token.group(kind)))
            case "space":
                tokens.append(("literal", " "))
            case "bracket":
                inner = token.group("bracket")
                currency = _CURRENCY.fullmatch(inner)
                if currency is not None:
                    tokens.append(("literal", currency.group("symbol")))
                    locale = int(currency.group("locale") or "0", 16) & 0xFFFF
                elif _COLOUR.fullmatch(inner) is None:
                    raise _Unknown
            case "digits" | "point" | "comma" | "exponent" | "slash" | "percent":
                tokens.append((kind, text))
            case "general" | "time" | "text":
                raise _Unknown
            case _:
                continue
    kinds = [kind for kind, _ in tokens]
    if kinds.count("point") > 1 or kinds.count("slash") > 1 or kinds.count("digits") > 60:
        raise _Unknown
    return _Section(tokens, locale)


def _clock(code: str) -> Clock | None:
    """How a code shows hours, minutes and seconds; None if it shows a date or no time."""
    units: list[str] = []
    is_duration = noon = False
    for token in _TOKEN.finditer(code.partition(";")[0]):
        bracket, letters = token.group("bracket"), (token.group("time") or "").lower()
        if bracket is not None and bracket.lower() in ("h", "hh", "m", "mm", "s", "ss"):
            is_duration = True
            units.append(bracket.lower())
        elif letters in ("am/pm", "a/p"):
            noon = True
        elif letters:
            units.append(letters)
    names = [unit[0] for unit in units]
    if not names or any(name not in "hms" for name in names) or (names == ["m"] and not is_duration):
        return None
    first = names[0]
    unit: Literal["h", "m", "s"] = "h" if first == "h" else "m" if first == "m" else "s"
    return Clock(unit, is_duration, len(units[0]) > 1, "s" in names, noon)
