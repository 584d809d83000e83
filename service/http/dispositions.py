"""Reads `Content-Disposition` of a part: the names of the field and of the file, in every form that clients send.

`filename*` (RFC 8187: requests, .NET) comes before its continuations (RFC 2231: Java and Python mail libraries), and
these before `filename`, which may have encoded words (RFC 2047: .NET), raw bytes (curl), `%22` (browsers), percent
encoding (aiohttp) or escapes by backslash (older clients). A name is never given up: what cannot be decoded as declared
is decoded as well as it can be.
"""

import binascii
import re
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

_CHARSETS = frozenset(
    {"utf-8", "utf8", "us-ascii", "ascii", "latin1", "latin-1", "shift_jis", "euc-jp", "iso-2022-jp", "euc-kr"}
    | {"gb2312", "gbk", "gb18030", "big5", "koi8-r", "koi8-u", "macintosh", "cp1252", "ibm866", "cp866"}
    | {f"iso-8859-{part}" for part in range(1, 17) if part != 12}
    | {f"windows-{page}" for page in range(1250, 1259)}
)
"""What a name may declare. Others are not passed to the interpreter, which stores every name that it is asked for."""

_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:\\.|[^\\])*?)"\s*(?=;|\Z)|([^;]*))', re.DOTALL)
_WORD = re.compile(r"=\?([^?\s]+)\?([bBqQ])\?([^?]*)\?=")
_NEIGHBOURING_WORDS = re.compile(r"=\?[^?\s]+\?[bBqQ]\?[^?]*\?=(?:\s+=\?[^?\s]+\?[bBqQ]\?[^?]*\?=)*")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}\Z")
_CONTINUATION = re.compile(r"\*([0-9]{1,3})(\*?)\Z")
_BROWSER_ESCAPES = {"%22": '"', "%0D": "\r", "%0A": "\n"}


class Disposition(NamedTuple):
    """The field's name, empty if it has none, and the file's, None if it has none."""

    name: str
    filename: str | None


def read_disposition(header: str) -> Disposition:
    """Read a header whose bytes were decoded as Latin-1, one character a byte."""
    parameters = parameters_of(header)
    return Disposition(_named("name", parameters) or "", _named("filename", parameters))


def parameters_of(header: str) -> dict[str, str]:
    """The parameters behind a header's value, by name in lower case.

    A value without quotes ends at the next semicolon, whatever its characters: clients send `boundary=----=_Part_1`.
    """
    parameters: dict[str, str] = {}
    for match in _PARAMETER.finditer(header):
        name, quoted, bare = match.groups()
        value = bare.strip().strip('"') if quoted is None else quoted
        parameters[name.lower()] = value if name.endswith("*") else _unescaped(value)
    return parameters


def decode_words(text: str) -> str:
    """The text with its encoded words (RFC 2047) decoded, those next to each other together."""
    return _NEIGHBOURING_WORDS.sub(lambda match: _joined_words(match.group()), text)


def _named(name: str, parameters: dict[str, str]) -> str | None:
    plain = parameters.get(name)
    extended = parameters.get(f"{name}*") or _continued(name, parameters)
    if extended is not None:
        charset, content = _split_extended(extended)
        declared = _decoded(content, charset)
        if declared is not None or plain is None:
            return declared if declared is not None else _readable(content)
    return None if plain is None else decode_words(_readable(plain.encode("latin-1")))


def _continued(name: str, parameters: dict[str, str]) -> str | None:
    """The value of `name*0`, `name*1*` …, as if `name*` had it."""
    pieces: dict[int, str] = {}
    for key, value in parameters.items():
        if key.startswith(name) and (numbered := _CONTINUATION.match(key, len(name))):
            pieces[int(numbered[1])] = value if numbered[2] else value.replace("%", "%25")
    if not pieces:
        return None
    joined = "".join(pieces[number] for number in sorted(pieces))
    return joined if f"{name}*0*" in parameters else f"utf-8''{joined}"


def _split_extended(value: str) -> tuple[str, bytes]:
    charset, _, rest = value.partition("'")
    _language, quote, encoded = rest.partition("'")
    if not quote:  # many clients leave out the charset
        charset, encoded = "utf-8", value
    return charset, unquote_to_bytes(encoded.encode("latin-1"))


def _unescaped(value: str) -> str:
    if '\\"' in value:
        return re.sub(r'\\(["\\])', r"\1", value)
    whole = _without_percents(value)
    if whole != value:
        return whole
    return re.sub("%22|%0[DdAa]", lambda match: _BROWSER_ESCAPES[match.group().upper()], value)


def _without_percents(value: str) -> str:
    """The value before a client (aiohttp) has percent-encoded all of it: encoding it again gives the same."""
    content = unquote_to_bytes(value.encode("latin-1"))
    is_whole = quote(content, safe="") == value and _decoded(content, "utf-8") is not None
    return content.decode("latin-1") if is_whole else value


def _decoded(content: bytes, charset: str) -> str | None:
    if charset.lower() not in _CHARSETS:
        return None
    try:
        return content.decode(charset)
    except UnicodeDecodeError:
        return None


def _readable(content: bytes) -> str:
    return _decoded(content, "utf-8") or _decoded(content, "cp1252") or content.decode("latin-1")


def _joined_words(words: str) -> str:
    """The text of neighbouring words. A character may be divided between two, against the RFC, so bytes are joined."""
    joined: list[tuple[str, bytes]] = []
    for charset, encoding, content in _WORD.findall(words):
        charset = charset.partition("*")[0]  # a language follows it (RFC 2231, section 5)
        raw = _from_base64(content) if encoding in "bB" else _from_q(content)
        if raw is None:
            return words
        if joined and joined[-1][0] == charset.lower():
            joined[-1] = (charset.lower(), joined[-1][1] + raw)
        else:
            joined.append((charset.lower(), raw))
    return "".join(_decoded(raw, charset) or _readable(raw) for charset, raw in joined)


def _from_base64(content: str) -> bytes | None:
    if not _BASE64.match(content):
        return None
    try:
        return binascii.a2b_base64(content.rstrip("=") + "=" * (-len(content.rstrip("=")) % 4))
    except binascii.Error:
        return None


def _from_q(content: str) -> bytes | None:
    return binascii.a2b_qp(content.encode("ascii"), header=True) if content.isascii() else None
