"""Decodes one line of bytes to a JSON object and finds all its faults.

The fast path is one decode by msgspec and one count of colons, which `rows` does for many lines at once. The slow path
finds each fault and its position. It is taken only if msgspec rejects the line, or if the number of colons differs from
the number of keys, as it does for a duplicate key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from service.datasets.parsing.json_faults import explain, no_object
from service.datasets.parsing.pattern_search import Search

MAX_DEPTH = 100
"""The maximum nesting of arrays and objects in a line. Training data needs about 20; parsers fail at some hundred."""

MAX_VALUES = 1_000_000
"""The maximum number of values in a line. A training row of some megabytes has some thousands; each takes 60 to 600
bytes of memory."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_MAX_INTEGER_DIGITS = 300
_decode = msgspec.json.Decoder().decode
_SPACED_COLON = Search(rb'"[ \t\r]+:')
_SURROGATE = re.compile("[\ud800-\udfff]")
_IGNORED = re.compile(rb"[ \t\r]*")


class Fault(NamedTuple):
    """A fault of a line: the code of its check, a JSON pointer, the value to excerpt, and the message.

    `at` is the position of the fault in the value.
    """

    code: str
    pointer: str
    value: object
    message: str
    at: int = 0


def decode_line(
    data: bytes, offset: int, *, max_values: int = MAX_VALUES, line: int | None = None, ends_file: bool = False
) -> tuple[dict[str, Any] | None, list[Fault]]:
    """The line's object and its faults. The object is None if the line holds none. Never raises.

    An object with faults that do not prevent reading it (duplicate keys, NaN, lone surrogates) is returned as well.
    `offset` is the position of the line's first byte in the file, `line` its number, if that is known. `ends_file` says
    that no line break follows.
    """
    decoded = decode_object(data, max_values=max_values)
    if decoded is not None and keys_add_up(data, decoded[1]):
        return decoded[0], []
    return _decode_with_faults(data, offset, max_values, line, ends_file)


def decode_object(data: bytes, *, max_values: int = MAX_VALUES) -> tuple[dict[str, Any], int] | None:
    """The line's object and the number of keys in it at all levels; None for any fault.

    Does not detect duplicate keys: compare the number of keys by `keys_add_up`.
    """
    if has_too_many_values(data, max_values):
        return None
    try:
        value = _decode(data)
        return (value, _count_keys(value, 1)) if type(value) is dict else None
    except (msgspec.DecodeError, UnicodeError, RecursionError, _TooDeep):
        return None


def has_too_many_values(data: bytes, max_values: int = MAX_VALUES) -> bool:
    """Whether a line has more values than it may, counted by the commas and brackets outside of its strings."""
    if len(data) < max_values or _separators(data) <= max_values:
        return False
    return _separators(_STRING.sub(b"", data)) > max_values


def _separators(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _decode_with_faults(
    data: bytes, offset: int, max_values: int, line: int | None, ends_file: bool
) -> tuple[dict[str, Any] | None, list[Fault]]:
    faults: list[Fault] = []
    if b"\x00" in data:
        at = data.index(b"\x00")
        faults.append(
            Fault(
                "nul_byte",
                "",
                data.decode("utf-8", "replace"),
                f"Byte {at + 1} of this line is a NUL byte; remove it (often the file is UTF-16 saved as text).",
                at,
            )
        )
        data = data.replace(b"\x00", b"")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        faults.append(
            Fault(
                "not_utf8",
                "",
                data.decode("utf-8", "replace"),
                f"Byte 0x{byte:02x} at byte {error.start + 1} of this line (byte {offset + error.start} of the file) "
                "is not UTF-8; save the file as UTF-8.",
                error.start,
            )
        )
        return None, faults
    if has_too_many_values(data, max_values):
        message = f"This line has over {max_values:,} values, the limit for a line; shorten or split it."
        faults.append(Fault("too_many_values", "", text, message))
        return None, faults
    try:
        value = json.loads(
            text, object_pairs_hook=_Object, parse_constant=_Constant, parse_int=_integer, parse_float=_number
        )
        faults.extend(_faults_inside(value))
        value = _without_placeholders(value)
    except json.JSONDecodeError as error:
        message, at = explain(text, error, ends_file=ends_file, line=line)
        faults.append(Fault("invalid_json", "", text, message, at))
        return None, faults
    except (RecursionError, _TooDeep):
        message = f"Arrays and objects are nested more than {MAX_DEPTH} deep; flatten this line or remove it."
        faults.append(Fault("nested_too_deep", "", text, message))
        return None, faults
    if not isinstance(value, dict):
        faults.append(Fault("not_an_object", "", text, no_object(value)))
        return None, faults
    return value, faults


class _TooDeep(Exception):
    pass


class _Object(dict[str, Any]):
    """An object that records its duplicate keys."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.duplicate_keys: list[str] = []
        if len(self) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen and key not in self.duplicate_keys:
                    self.duplicate_keys.append(key)
                seen.add(key)


class _Constant(str):
    """A placeholder for NaN, Infinity or -Infinity, which JSON does not allow."""


class _OutOfRange(str):
    """A placeholder for a number that does not fit in a double."""


def _integer(digits: str) -> Any:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else _OutOfRange(digits[:20] + "…")


def _number(digits: str) -> Any:
    value = float(digits)
    return value if abs(value) != float("inf") else _OutOfRange(digits[:20])


def _faults_inside(value: Any) -> Iterator[Fault]:
    for pointer, item in _walk(value, "", 1):
        if isinstance(item, _Object):
            for key in item.duplicate_keys:
                place = f"{pointer}/{pointer_token(key)}"
                message = f"The key {key!r} occurs twice in one object, and only one of its values would be read."
                yield Fault("duplicate_key", place, item[key], message)
            keys = [key for key in item if _SURROGATE.search(key)]
            if keys:
                yield Fault("lone_surrogate", pointer, keys[0], "A key contains half of a surrogate pair; rewrite it.")
        elif isinstance(item, _Constant):
            yield Fault("nan_or_infinity", pointer, str(item), f"{item} is not JSON; write null or a number.")
        elif isinstance(item, _OutOfRange):
            yield Fault("number_out_of_range", pointer, str(item), "This number is too large; write it as a string.")
        elif isinstance(item, str):
            found = _SURROGATE.search(item)
            if found:
                message = (
                    f"\\u{ord(found.group()):04x} is half of a surrogate pair: a character was cut in two (often an "
                    "emoji). Restore or remove it."
                )
                yield Fault("lone_surrogate", pointer, item, message, found.start())


def _walk(value: Any, pointer: str, depth: int) -> Iterator[tuple[str, Any]]:
    yield pointer, value
    if isinstance(value, dict):
        if depth > MAX_DEPTH:
            raise _TooDeep
        for key, item in value.items():
            yield from _walk(item, f"{pointer}/{pointer_token(key)}", depth + 1)
    elif isinstance(value, list):
        if depth > MAX_DEPTH:
            raise _TooDeep
        for index, item in enumerate(value):
            yield from _walk(item, f"{pointer}/{index}", depth + 1)


def _without_placeholders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_placeholders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_placeholders(item) for item in value]
    if isinstance(value, (_Constant, _OutOfRange)):
        return None
    return value


def keys_add_up(data: bytes, keys: int) -> bool:
    """Whether `data`, one line or many, certainly spells out exactly `keys` keys, so that there are no duplicate keys.

    The keys are counted as occurrences of `":`. A quote inside a string may also be followed by a colon (`\\":`): those
    are subtracted, and if the backslash is itself escaped the result is uncertain. It is also uncertain if white space
    stands between a quote and a colon. Nothing else makes the count too low, so a sum over many lines is right only if
    it is right for each line. A string that begins with a colon makes it too high; then the slow path reads the line.
    """
    colons = data.count(b'":')
    if colons != keys and (colons - data.count(b'\\":') != keys or b'\\\\":' in data):
        return False
    return not _SPACED_COLON.ends(data if data.endswith(b"\n") else data + b"\n")


def _count_keys(value: Any, depth: int) -> int:
    """The number of keys of all objects inside `value`. Raises _TooDeep."""
    if depth > MAX_DEPTH:
        raise _TooDeep
    keys = 0
    if type(value) is dict:
        keys = len(value)
        value = value.values()
    for item in value:
        if type(item) is dict:
            keys += len(item)
            for inner in item.values():
                if type(inner) is list or type(inner) is dict:
                    keys += _count_keys(inner, depth + 2)
        elif type(item) is list:
            keys += _count_keys(item, depth + 1)
    return keys


def pointer_token(key: str) -> str:
    """A key as a reference token of a JSON pointer (RFC 6901), cut at 80 characters."""
    return key[:80].replace("~", "~0").replace("/", "~1")
