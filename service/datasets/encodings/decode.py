"""Decodes bytes in a named encoding, strictly: what is not in the encoding is an error, never a replacement."""

from __future__ import annotations

import codecs

from service.datasets.encodings.names import CODECS

_WINDOWS_1252 = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256))
"""The five bytes that Windows leaves undefined are the C1 controls of the same numbers, as in the WHATWG standard."""
ESCAPED = frozenset({"iso-2022-jp", "iso-2022-kr", "hz-gb-2312"})
"""Encodings in which bytes of ASCII are parts of other characters, between escape sequences that end in their line."""

_ESCAPES = (b"\x1b", b"\x0e", b"~{")
_KOREAN_MODE = b"\x1b$)C"


def decode(data: bytes, encoding: str) -> str:
    """The text of a line in an encoding of `names.CODECS`. Raises UnicodeDecodeError."""
    if CODECS[encoding] == "cp1252":
        return codecs.charmap_decode(data, "strict", _WINDOWS_1252)[0]
    if encoding == "iso-2022-kr" and _KOREAN_MODE not in data:  # it stands once, at the start of the file
        return (_KOREAN_MODE + data).decode("iso2022_kr")
    return data.decode(CODECS[encoding])


def is_escaped(data: bytes) -> bool:
    """Whether a line has an escape sequence of one of the encodings in `ESCAPED`."""
    return any(escape in data for escape in _ESCAPES)
