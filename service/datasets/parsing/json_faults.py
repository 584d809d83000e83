"""Says why a text is not JSON, in the terms of JSON: what is wrong, at which character, and what to write.

The parser finds the position; what people get wrong is recognised by the characters around it. Source of the grammar:
RFC 8259.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import NamedTuple

_WORD = re.compile(r"[A-Za-z_$][\w$-]{0,39}")
_PYTHON = {"None": "null", "True": "true", "False": "false"}
_OTHER_WORDS = {"undefined": "null", "nan": "null", "inf": "null", "nil": "null", "NULL": "null", "TRUE": "true"}
_SMART_QUOTES = "“”„‟«»‘’‚"
_COMMENTS = ("//", "/*", "#", "--")
_WIDTHS = {
    **dict.fromkeys((255, 256, 500, 512, 1000, 1024, 2000, 2048, 4000, 4096, 8000, 8192, 10000), ""),
    **{16_383: "", 16_384: "", 32_767: "of a cell in Excel", 32_768: "", 65_535: "of a text column", 65_536: ""},
}
"""Lengths at which tools cut texts off."""

_WHITE = " \t\r\n"
_MAX_BRACES = 3
_PATH = re.compile(r"[A-Za-z]:\\\Z")


class Explained(NamedTuple):
    """What is wrong and what to do, and the position in the text (0-based, inside the text)."""

    message: str
    at: int


def explain(text: str, error: json.JSONDecodeError, *, ends_file: bool = False, line: int | None = None) -> Explained:
    """The message for a text that is not JSON. `ends_file` says that no line break follows the text.

    `line` is the number of the line, if it is one: a record that goes on in the next line is then named with both.
    """
    said = _notation(text) or _at_fault(text, error, ends_file=ends_file, line=line)
    return Explained(f"Not JSON at {_place(text, said.at)}: {said.message}", said.at)


def why_not_json(text: str) -> str:
    """The end of a sentence about a text inside a row that no JSON parser accepts: " at character 3: …"."""
    if not text.strip(_WHITE):
        return ": they are empty. Write {} if there are none."
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        message = explain(text, error).message.removeprefix("Not JSON").replace(" of this line", "")
        return about(message, "text")
    except (RecursionError, ValueError):
        return ": they are nested too deep, or a number is too long. Simplify them."
    return ": they contain NaN, Infinity or half of a surrogate pair. Write null, a number or the whole character."


def about(message: str, what: str) -> str:
    """A message about a line as one about something else, such as an item of an array."""
    return message.replace("this line", f"this {what}").replace("the line", f"the {what}")


def no_object(value: object) -> str:
    """The message for a line that is JSON and no object."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        return (
            "This line is an object inside a string: it was encoded twice. Write the object itself, without the quotes "
            "around it and the backslashes inside."
        )
    return f'A line holds one JSON object; this one is {_kind_name(value)}. Write it as {{"messages": [...]}}.'


def _notation(text: str) -> Explained | None:
    """A line in another notation as a whole."""
    start = len(text) - len(text.lstrip())
    line = text.strip()
    inside = line.lstrip("[{ ")
    if line.startswith("\ufeff"):
        message = "a byte order mark stands at the start of this line, often where two files were joined. Remove it."
        return Explained(message, text.index("\ufeff"))
    if line.startswith(_COMMENTS) or line in ("*/", "*"):
        return Explained("this line is a comment, and JSON has no comments. Remove it.", start)
    if line.startswith("```"):
        return Explained("this line is a Markdown code fence and no data. Remove it.", start)
    if line in ("[", "]", "],", "[]", ",", "};", "];"):
        return Explained(
            "this line is a part of an array. Write one object per line and no brackets around them.", start
        )
    if line.startswith('"{""'):
        return Explained(
            "this line is a cell of a CSV file: it is in quotes, and its own quotes are doubled. Export the file as "
            "CSV with its header, or remove the outer quotes and write every doubled quote once.",
            start,
        )
    if inside.startswith("&quot;") or line.startswith("&#123;") or line.startswith("&#34;"):
        at = text.index("&")
        return Explained("the quotes are written as HTML (&quot;). Decode the HTML entities.", at)
    if inside.startswith('\\"'):
        message = 'the quotes are escaped with backslashes (\\"), as inside a string. Decode that string once.'
        return Explained(message, text.index('\\"'))
    if line.startswith("{'") or line.startswith("[{'"):
        return Explained(f"{_python_notation()}", text.index("'"))
    return None


def _python_notation() -> str:
    return (
        "the quotes are single; this is Python's notation. JSON has double quotes, and null, true and false for None, "
        "True and False. Write each row with json.dumps."
    )


def _at_fault(text: str, error: json.JSONDecodeError, *, ends_file: bool, line: int | None) -> Explained:
    at = min(error.pos, max(len(text) - 1, 0))
    kind = error.msg
    if kind.startswith("Illegal trailing comma"):  # from Python 3.13 on
        return Explained("a comma stands before the closing bracket. Remove it.", at)
    if kind.startswith("Unterminated string"):
        return _cut(text, ends_file=ends_file, line=line, string_at=at)
    if kind.startswith("Invalid control character"):
        return Explained(_control_character(text[at]), at)
    if kind.startswith("Invalid \\"):
        return _escape(text, at)
    rest = text[error.pos :].lstrip(_WHITE)
    at = len(text) - len(rest)
    if not rest:
        return _cut(text, ends_file=ends_file, line=line)
    if (special := _special_character(rest)) is not None:
        return Explained(special, at)
    if kind.startswith("Extra data"):
        return _after_value(text, at)
    return Explained(_unexpected(kind, text, at, rest), at)


def _special_character(rest: str) -> str | None:
    """What to say of a character that belongs nowhere between values."""
    char = rest[0]
    code = f"U+{ord(char):04X}"
    if char in _SMART_QUOTES:
        return f'{char} ({code}) is a typographic quote. Write the straight quote ".'
    if char == "\ufeff":
        return "a byte order mark stands inside the line, often where two files were joined. Remove it."
    if char == "\x1e":
        return "the line begins with a record separator (U+001E, JSON text sequences). Remove it from every line."
    if char == "\x1a":
        return "an end-of-file character (U+001A) follows. Remove it."
    if char in "\u2028\u2029\x0b\x0c\x85" or char.isspace():
        return f"a special space ({code}) stands between values; JSON allows the plain space only. Replace it."
    if unicodedata.category(char) in ("Cf", "Cc"):
        return f"an invisible character ({code}) stands between values. Remove it."
    if rest.startswith(("//", "/*", "#")):
        return "a comment begins here, and JSON has no comments. Remove it."
    return None


def _unexpected(kind: str, text: str, at: int, rest: str) -> str:
    char, before = rest[0], text[:at].rstrip(_WHITE)[-1:]
    if char == "'":
        if any(word in text for word in _PYTHON) or text.lstrip().startswith("{'"):
            return _python_notation()
        return "single quotes are no quotes in JSON. Write double quotes."
    if rest.startswith('\\"'):
        return 'a quote is escaped with a backslash (\\") outside of a string. Write it without the backslash.'
    if char in "}]" and before == ",":
        return f"a comma stands before the closing {char}. Remove the comma."
    if char in "}]" and before == ":":
        return "a value is missing after the colon. Write the value, or null."
    if char == "," and before in ",[{":
        return "a value is missing before the comma. Remove the comma, or write the value."
    if char == "," and before == ":":
        return "a value is missing after the colon. Write the value, or null."
    if "property name" in kind:
        return _key(rest)
    if "':'" in kind:
        if char in "=":
            return "a key and its value are separated by a colon in JSON, not by =. Write a colon."
        return 'a key has no value. Write a colon and the value after the key, or double quotes inside it as \\".'
    if "','" in kind:
        return _after_item(text, at, rest, before)
    return _value(text, at, rest)


def _key(rest: str) -> str:
    word = _WORD.match(rest)
    if word is not None:
        return f"the key {word.group()} is not in quotes. Write it in double quotes."
    return 'a key in double quotes is missing here. Write every key of an object as "key": value.'


def _after_item(text: str, at: int, rest: str, before: str) -> str:
    char = rest[0]
    if before == '"' and (char.isalnum() or char in "_.!?;-"):
        return (
            'the string ends at the quote before, and text follows. Write a quote inside a string as \\", and close '
            "every string that you open."
        )
    if char in "}]":
        return f"the bracket {char} does not close the bracket that is open here. Add the missing bracket before it."
    if char == ";":
        return "values are separated by commas in JSON, not by semicolons."
    if char == ":":
        return "a colon stands where a comma or a bracket is needed. Put keys and their values into {…}."
    if text[at - 1 : at].isdigit() and (char.isdigit() or char in "._xabcdef"):
        return "a number is written in a way that JSON does not allow. Write 0.5, 5 or 5e3, without leading zeros."
    return "a comma is missing between two values. Write it."


def _value(text: str, at: int, rest: str) -> str:
    word = _WORD.match(rest)
    if word is not None:
        name = word.group()
        if name in _PYTHON:
            return f"{name} is Python's notation. Write {_PYTHON[name]}; json.dumps writes it so."
        if name in _OTHER_WORDS:
            return f"{name} is not JSON. Write {_OTHER_WORDS[name]}."
    if not text[:at].strip(_WHITE):
        return _no_object(text, at)
    if rest[0] in "+.-":
        return "a number is written in a way that JSON does not allow. Write 0.5 or -5, without a plus sign."
    if word is not None:
        return f"the text {name} is not in quotes. Write strings in double quotes."
    if rest[0] in "}]":
        return f"a value is missing before {rest[0]}. Write the value, or remove what comes before it."
    return (
        f"a value is missing: {rest[0]} begins none. Write a string in double quotes, a number, an object or an array."
    )


def _no_object(text: str, at: int) -> str:
    found = object_behind(text)
    if found is not None:
        return f"text stands before the object, which begins at character {found + 1}. Remove the text before it."
    return 'the line does not begin with {. Write one object per line, such as {"messages": [...]}.'


def object_behind(text: str) -> int | None:
    """The position of an object at the end of the text, behind other text."""
    at = -1
    for _ in range(_MAX_BRACES):
        at = text.find("{", at + 1)
        if at < 0:
            return None
        try:
            return at if isinstance(json.loads(text[at:]), dict) else None
        except (ValueError, RecursionError):
            continue
    return None


def _after_value(text: str, at: int) -> Explained:
    rest = text[at:].rstrip(_WHITE)
    if not text.lstrip(_WHITE).startswith(("{", "[")):
        return Explained(_no_object(text, 0), len(text) - len(text.lstrip(_WHITE)))
    if rest == ",":
        return Explained("a comma ends the line. JSON Lines has no commas between lines; remove it.", at)
    if rest.lstrip(", \t").startswith("{"):
        return Explained(
            "a second object begins on this line. Write one object per line; the fix json_to_jsonl does that.", at
        )
    if rest[0] in "}]":
        return Explained(f"the bracket {rest[0]} closes nothing. Remove it, or add the bracket that is missing.", at)
    if rest[0] == ";":
        return Explained("a semicolon ends the line. Remove it.", at)
    return Explained("text follows the end of the object. Remove it, or write it into the object.", at)


def _control_character(char: str) -> str:
    names = {"\t": ("tab", "\\t"), "\n": ("line break", "\\n"), "\r": ("carriage return", "\\r")}
    if char in names:
        name, escape = names[char]
        return f"a {name} stands inside a string. Write it as {escape}."
    return (
        f"the control character U+{ord(char):04X} stands inside a string. Write it as \\u{ord(char):04x}, or remove it."
    )


def _escape(text: str, at: int) -> Explained:
    """A backslash that begins no escape of JSON. The parser points to the backslash or behind it."""
    if text[at : at + 1] != "\\":
        at = max(text.rfind("\\", 0, at + 1), 0)
    char = text[at + 1 : at + 2]
    if char == "u":
        message = "\\u needs four hexadecimal digits behind it. Write a backslash inside a string as \\\\"
        return Explained(f"{message}, as in C:\\\\users." if _PATH.search(text[: at + 1]) else f"{message}.", at)
    if char == "x":
        return Explained(
            "\\x is no escape in JSON. Write \\u and four hexadecimal digits, or \\\\ for a backslash.", at
        )
    if char == "'":
        return Explained("\\' is no escape in JSON. Write the apostrophe without a backslash.", at)
    shown = char if char.isprintable() else f"U+{ord(char):04X}" if char else ""
    return Explained(f"\\{shown} is no escape in JSON. Write a backslash inside a string as \\\\.", at)


def _cut(text: str, *, ends_file: bool, line: int | None, string_at: int | None = None) -> Explained:
    """The text ends before the object does."""
    end = len(text.rstrip("\r"))
    last = max(end - 1, 0)
    if ends_file:
        return Explained(
            "the file ends in the middle of this line, so its download or export is incomplete. Fetch or export it "
            "again.",
            last,
        )
    if end in _WIDTHS:
        limit = f"the limit {_WIDTHS[end]}" if _WIDTHS[end] else "a limit of the tool that wrote it"
        return Explained(f"the line is cut off after {end:,} characters, {limit}. Export it without the limit.", last)
    if string_at is None:
        return Explained(
            "the line ends before its object does. Write the whole object there, or export the line again if it is "
            "cut off.",
            last,
        )
    goes_on = "in the next line" if line is None else f"in line {line + 1:,}"
    return Explained(
        f"the string that begins here is not closed on this line. If it goes on {goes_on}, join the lines with \\n; if "
        "the line is cut off, export it again.",
        string_at,
    )


def _kind_name(value: object) -> str:
    if value is None:
        return "null"
    names = {str: "a string", bool: "true or false", int: "a number", float: "a number", list: "an array"}
    return names.get(type(value), "something else")


def _place(text: str, at: int) -> str:
    before = text[:at]
    if "\n" in text:
        return f"line {before.count(chr(10)) + 1}, character {at - (before.rfind(chr(10)) + 1) + 1} of this line"
    return f"character {at + 1} of this line"
