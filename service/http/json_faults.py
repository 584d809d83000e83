"""What is wrong with a JSON body, where in the body, and what to send instead.

Places are those of the body: line and column count from one, and characters; the byte offset counts from zero.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from service.errors import InvalidRequest
from service.http.content_encodings import SHOWN_CHARACTERS
from service.http.dispositions import parameters_of
from service.http.schema_text import joined

PIECE_BYTES = 64 * 1024
"""The bytes of one search: the interpreter is released between two only."""

_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
)
_CHARSETS = ("utf-8", "utf8", "us-ascii")
_SENT_BY = {
    "application/x-www-form-urlencoded": ", which curl's -d sends by itself",
    "text/plain": ", which fetch sends for a string by itself",
    "multipart/form-data": ", which is for files (/v1/files)",
}
_BEGINNINGS = {
    b"\xef\xbb\xbf": "begins with a byte order mark (BOM, the bytes EF BB BF), which JSON in a request must not have "
    "(RFC 8259, section 8.1). Send UTF-8 without a BOM: `utf-8` instead of `utf-8-sig`, `new UTF8Encoding(false)`, "
    "`utf8NoBOM`",
    b"\xff\xfe\0\0": "is UTF-32 with a byte order mark (BOM). Send UTF-8",
    b"\0\0\xfe\xff": "is UTF-32 with a byte order mark (BOM). Send UTF-8",
    b"\xff\xfe": "is UTF-16 with a byte order mark (BOM). Send UTF-8",
    b"\xfe\xff": "is UTF-16 with a byte order mark (BOM). Send UTF-8",
    b"\x1f\x8b": "is compressed by gzip. Send it uncompressed",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd. Send it uncompressed",
    b"PK\x03\x04": "is a ZIP archive. Send JSON",
    b"--": "begins like multipart/form-data. Send JSON; files go to /v1/files",
    b"<": "begins with `<`, like HTML or XML. Send JSON",
}
_WIDE = re.compile(rb"(?:\0{1,3}[^\0]){2}|(?:[^\0]\0{1,3}){2}")
_SENTINEL = b"\x7f\x7f\x7f"
"""Stands for the byte at fault while its path is searched for."""

_ASCII = bytes(byte if byte < 0x80 else 0x3F for byte in range(256))
_LATE = ("invalid escape", "invalid character in unicode", "trailing characters")
"""The faults that the decoder reports one byte behind."""

_WORD = re.compile(rb"[A-Za-z_]\w*")
_WORD_ADVICE = {
    "NaN": "`NaN` is not JSON; send null, or leave the field out",
    "Infinity": "`Infinity` is not JSON; send null, or leave the field out",
    "None": "`None` is null in JSON",
    "True": "`True` is true in JSON",
    "False": "`False` is false in JSON",
    "undefined": "`undefined` is not JSON; send null, or leave the field out",
}
_BYTE_ADVICE = {
    b"'": "strings and keys have double quotes in JSON, not single ones",
    b"/": "JSON has no comments",
    b"#": "JSON has no comments",
    b"\n": "a line break in a string is written \\n",
    b"\r": "a line break in a string is written \\n",
    b"\t": "a tab in a string is written \\t",
}
_CONTROL = [bytes([byte]) for byte in range(0x20)]
_OPENING = b"{["


def check_json_type(content_type: str) -> None:
    """Raises `InvalidRequest` for a `Content-Type` that is given and is not JSON in UTF-8 (RFC 8259, section 8.1)."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in ("", "application/json"):
        sent_by = _SENT_BY.get(media_type, "")
        raise InvalidRequest(
            f"The body is '{media_type[:SHOWN_CHARACTERS]}'{sent_by}. Send JSON, with `Content-Type: "
            "application/json`.",
            code="invalid_content_type",
        )
    charset = parameters_of(content_type).get("charset", "utf-8")
    if charset.lower() not in _CHARSETS:
        raise InvalidRequest(
            f"The `Content-Type` names the charset '{charset[:SHOWN_CHARACTERS]}', and JSON is UTF-8. Encode the body "
            "as UTF-8, with `Content-Type: application/json`.",
            code="invalid_content_type",
        )


def is_blank(raw: bytes) -> bool:
    """Whether a body has nothing but white space."""
    return not raw or raw.isspace()


def not_json(raw: bytes, error: Exception) -> InvalidRequest:
    """The refusal of a body that msgspec does not decode. `error` is what it raised."""
    for beginning, what in _BEGINNINGS.items():
        if raw.startswith(beginning):
            return _invalid(f"The body {what}.")
    if _WIDE.match(raw):
        return _invalid("The body is UTF-16 or UTF-32: it has NUL bytes between the characters. Send UTF-8.")
    wrong = _first_not_utf8(raw)
    if wrong is not None:
        return _not_utf8(raw, wrong)
    lone = _first_lone_surrogate(raw)
    if lone is not None:
        return InvalidRequest(
            f"The body contains half of a surrogate pair at {_place(raw, lone)}, which is not a character. Send both "
            "halves.",
            code="invalid_character",
        )
    return _invalid(_syntax(raw, str(error)))


def not_an_object(value: Any) -> InvalidRequest:
    """The refusal of a body that is JSON, but no object."""
    match value:
        case str() if value.lstrip().startswith(("{", "[")):
            what = "is a string that contains JSON: it was encoded twice. Send the object itself"
        case str():
            what = "is a string. Send a JSON object"
        case list():
            what = "is an array. Send a JSON object, for each element a request of its own"
        case None:
            what = "is null. Send a JSON object"
        case bool() | int() | float():
            what = f"is a {'boolean' if isinstance(value, bool) else 'number'}. Send a JSON object"
        case _:
            what = "is not a JSON object. Send one"
    return InvalidRequest(f"The body {what}.", code="invalid_type")


def with_note_of_empty_body(refusal: InvalidRequest) -> InvalidRequest:
    """The refusal of an empty body for a field that it lacks."""
    return InvalidRequest(f"The body is empty. {refusal.message}", param=refusal.param, code=refusal.code)


def paths_of(value: Any, text: str, path: str = "") -> Iterator[str]:
    """The paths of the strings and keys in a decoded value that contain a text."""
    match value:
        case str() if text in value:
            yield path
        case dict():
            for name, inner in value.items():
                yield from [path] if text in name else paths_of(inner, text, joined(path, name))
        case list():
            for index, inner in enumerate(value):
                yield from paths_of(inner, text, f"{path}[{index}]")


def _invalid(message: str, param: str | None = None) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="invalid_json")


def _first_not_utf8(raw: bytes) -> int | None:
    start = 0
    while start < len(raw):
        end = start + PIECE_BYTES
        try:
            _, read = codecs.utf_8_decode(raw[start:end], "strict", end >= len(raw))
        except UnicodeDecodeError as error:
            return start + error.start
        start += read
    return None


def _first_lone_surrogate(raw: bytes) -> int | None:
    first = raw.find(b"\\u")
    for start in range(first, len(raw), PIECE_BYTES) if first >= 0 else ():
        if found := _LONE_SURROGATE.search(raw, start, start + PIECE_BYTES):
            return found.start()
    return None


def _not_utf8(raw: bytes, offset: int) -> InvalidRequest:
    path = _path_at(raw, offset)
    inside = f", in '{path}'" if path else ""
    byte = raw[offset : offset + 1]
    guess = byte.decode("cp1252", "ignore")
    read_as = f" In Windows-1252 or Latin-1 it is '{guess}'." if guess else ""
    return _invalid(
        f"The body is not UTF-8 at {_place(raw, offset)}{inside}: the byte {byte.hex().upper()} begins no character "
        f"there.{read_as} Send UTF-8.",
        path or None,
    )


def _path_at(raw: bytes, offset: int) -> str:
    changed = (
        raw[:offset].replace(_SENTINEL, b"") + _SENTINEL + raw[offset + 1 :].translate(_ASCII).replace(_SENTINEL, b"")
    )
    try:
        value = msgspec.json.decode(changed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return next(paths_of(value, _SENTINEL.decode()), "")


def _syntax(raw: bytes, message: str) -> str:
    named = re.match(r"JSON is malformed: (.*) \(byte (\d+)\)", message)
    if named is None:
        if "truncated" in message:
            return (
                f"The body ends at {_place(raw, len(raw.rstrip()))}, before its JSON is complete. Send all of it, with "
                "its whole length as Content-Length."
            )
        what = "a number is out of range" if "out of range" in message else "it cannot be read"
        return f"The body is not valid JSON: {what}. Send a JSON object."
    what, offset = named[1], int(named[2])
    if what == "object keys must be strings":
        what = "the keys of an object must be strings in double quotes, and one is not,"
    if what.startswith(_LATE):
        offset -= 1
    if what == "trailing characters":
        more = "another value follows, as in JSON Lines" if raw[offset] in _OPENING else "more follows"
        return f"The body is not one JSON value: {more} at {_place(raw, offset)}. Send one JSON object."
    word = _word_at(raw, offset)
    if word is not None:
        offset = word.start()
        advice = _WORD_ADVICE.get(word.group().decode("ascii", "replace"), "")
    else:
        advice = _BYTE_ADVICE.get(raw[offset : offset + 1], "")
    because = f": {advice}" if advice else ""
    return f"The body is not valid JSON: {what} at {_place(raw, offset)}{because}. Send a JSON object."


def _word_at(raw: bytes, offset: int) -> re.Match[bytes] | None:
    """The bare word at which the decoder stopped: it reads some bytes of it before it does."""
    for word in _WORD.finditer(raw, max(0, offset - len("false")), offset + 16):
        if word.start() <= offset <= word.end() + 1:
            return None if raw[offset : offset + 1] in _CONTROL else word
    return None


def _place(raw: bytes, offset: int) -> str:
    begin = raw.rfind(b"\n", 0, offset) + 1
    line = raw.count(b"\n", 0, offset) + 1
    column = len(raw[begin:offset].decode("utf-8", "replace")) + 1
    return f"line {line}, column {column} (byte offset {offset})"
