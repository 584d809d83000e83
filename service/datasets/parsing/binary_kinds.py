"""Recognises files in a binary format by their first bytes: what they are, and how to get training data out of them.

Sources of the signatures: the formats' specifications, and the database of `file` (magic).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_CONVERT = "Export its rows as JSON Lines or CSV, for example with pandas or DuckDB."
_UNPACK = "Unpack it, and use the file inside."
_NO_ROWS = "It has no rows. Use a file in JSON Lines, CSV or XLSX."
_TEXT = "Copy its questions and answers into a table (XLSX or CSV), or into JSON Lines."


class Kind(NamedTuple):
    """What a file is, as the end of a sentence ("a PDF"), and what to do."""

    what: str
    advice: str

    @property
    def message(self) -> str:
        """The sentence for a person."""
        return f"The file is {self.what}, not training data. {self.advice}"


_SIGNATURES = (
    (b"(\xb5/\xfd", Kind("compressed with zstd", "Unpack it with `zstd -d`, or compress it with gzip.")),
    (b"BZh", Kind("compressed with bzip2", "Unpack it with `bunzip2`, or compress it with gzip.")),
    (b"\xfd7zXZ\x00", Kind("compressed with xz", "Unpack it with `unxz`, or compress it with gzip.")),
    (b"\x04\x22\x4d\x18", Kind("compressed with LZ4", "Unpack it with `lz4 -d`, or compress it with gzip.")),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7-Zip archive", _UNPACK)),
    (b"Rar!\x1a\x07", Kind("a RAR archive", _UNPACK)),
    (b"PK\x05\x06", Kind("an empty zip archive", "Make the archive anew, or use the file itself.")),
    (b"PAR1", Kind("a Parquet file", _CONVERT)),
    (b"ARROW1", Kind("an Arrow or Feather file", _CONVERT)),
    (b"\xff\xff\xff\xff", Kind("an Arrow stream, as Hugging Face's `datasets` saves it", _CONVERT)),
    (b"FEA1", Kind("a Feather file", _CONVERT)),
    (b"ORC", Kind("an ORC file", _CONVERT)),
    (b"Obj\x01", Kind("an Avro file", _CONVERT)),
    (b"\x89HDF\r\n\x1a\n", Kind("an HDF5 file", _CONVERT)),
    (b"SQLite format 3\x00", Kind("an SQLite database", "Export its table as CSV: `sqlite3 -header -csv FILE QUERY`.")),
    (b"\x93NUMPY", Kind("a NumPy array", _NO_ROWS)),
    (b"GGUF", Kind("a model's weights (GGUF)", _NO_ROWS)),
    (b"%PDF", Kind("a PDF", _TEXT)),
    (b"\x89PNG\r\n\x1a\n", Kind("a PNG image", _NO_ROWS)),
    (b"\xff\xd8\xff", Kind("a JPEG image", _NO_ROWS)),
    (b"GIF8", Kind("a GIF image", _NO_ROWS)),
    (b"II*\x00", Kind("a TIFF image", _NO_ROWS)),
    (b"MM\x00*", Kind("a TIFF image", _NO_ROWS)),
    (b"ID3", Kind("an MP3 recording", _NO_ROWS)),
    (b"\xff\xfb", Kind("an MP3 recording", _NO_ROWS)),
    (b"OggS", Kind("an Ogg recording", _NO_ROWS)),
    (b"fLaC", Kind("a FLAC recording", _NO_ROWS)),
    (b"\x1aE\xdf\xa3", Kind("a video", _NO_ROWS)),
    (b"\x7fELF", Kind("a program", _NO_ROWS)),
    (b"MZ\x90\x00", Kind("a program", _NO_ROWS)),
    (b"bplist00", Kind("a property list of macOS", _NO_ROWS)),
    (
        b"\x00\x05\x16\x07",
        Kind("a companion file of macOS (its name begins with ._)", "Use the file with the same name without `._`."),
    ),
    (b"\x00\x05\x16\x00", Kind("a companion file of macOS", "Use the file itself.")),
    (b"\x00\x00\x00\x01Bud1", Kind("a folder's settings of macOS (.DS_Store)", "Use the file with the rows.")),
    (b"L\x00\x00\x00\x01\x14\x02\x00", Kind("a shortcut of Windows", "Use the file to which it points.")),
)
_TAR = re.compile(rb".{257}ustar", re.DOTALL)
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x80-\xff}\](c\x58\x8c\x95]", re.DOTALL)
_ZIP_ENTRY = re.compile(rb"PK\x03\x04.{22}(..)..", re.DOTALL)
_OFFICE = {"word/": "a Word document", "ppt/": "a PowerPoint presentation"}
_OLD_OFFICE = {
    "WordDocument": "an old Word document",
    "PowerPoint Document": "an old PowerPoint presentation",
    "__properties_version1.0": "an Outlook message",
}
_METADATA = ("__MACOSX/", "[Content_", "_rels/", "docProps/")
_ZIP_MAGIC, _OLD_OFFICE_MAGIC = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_MIN_BYTES = 64
_CONTROL_SHARE = 0.05


def binary_kind(start: bytes) -> Kind | None:
    """The kind of a binary file with these first bytes; None for text, spreadsheets, gzip, UTF-16 and UTF-32."""
    for magic, kind in _SIGNATURES:
        if start.startswith(magic):
            return kind
    if start.startswith(_ZIP_MAGIC):
        return _zip_kind(start)
    if start.startswith(_OLD_OFFICE_MAGIC):
        found = next((what for name, what in _OLD_OFFICE.items() if name.encode("utf-16-le") in start), None)
        return Kind(found, _TEXT) if found else None
    if start and not start.strip(b"\x00"):
        return Kind("empty: it has only NUL bytes", "Its download or copy failed; fetch it again.")
    if _TAR.match(start):
        return Kind("a tar archive", _UNPACK)
    if start.startswith(b"RIFF"):
        return Kind("a WebP image" if start[8:12] == b"WEBP" else "a recording", _NO_ROWS)
    if start[4:8] == b"ftyp":
        return Kind("a video or a HEIC image", _NO_ROWS)
    if _PICKLE.match(start):
        return Kind("a Python pickle", "Load it where it was written, and write its rows as JSON Lines.")
    if start[8:10] == b'{"' and start[4:8] == bytes(4):  # the length of the header, then the header
        return Kind("a model's weights (safetensors)", _NO_ROWS)
    return Kind("binary data of an unknown kind", _NO_ROWS) if _is_binary(start) else None


def _zip_kind(start: bytes) -> Kind | None:
    names: list[str] = []
    for entry in _ZIP_ENTRY.finditer(start):
        length = int.from_bytes(entry.group(1), "little")
        names.append(start[entry.end() : entry.end() + length].decode("utf-8", "replace"))
    if any(name.startswith("xl/") for name in names):
        return None
    for folder, what in _OFFICE.items():
        if any(name.startswith(folder) for name in names):
            return Kind(what, _TEXT)
    if "content.xml" in names:  # OpenDocument; spreadsheets are read
        other = re.search(rb"opendocument\.(?:text|presentation|graphics)", start[:200])
        return Kind("an OpenDocument text or presentation", _TEXT) if other else None
    if b"application/epub+zip" in start[:200]:
        return Kind("a book (EPUB)", _TEXT)
    if any(name.endswith(".iwa") for name in names):
        return Kind("a document of Apple Numbers, Pages or Keynote", "Export the table as XLSX or CSV.")
    if any(name.endswith(".npy") for name in names):
        return Kind("NumPy arrays (.npz)", _NO_ROWS)
    if any(name.endswith("/data.pkl") for name in names):
        return Kind("a model's weights (PyTorch)", _NO_ROWS)
    inside = [name for name in names if _is_content(name)]
    if not inside:
        return None
    shown = ", ".join(f"`{name[-60:]}`" for name in inside[:3])
    more = " and more" if len(inside) > 3 else ""
    return Kind(f"a zip archive with {shown}{more}", _UNPACK)


def _is_content(name: str) -> bool:
    """Whether a zip entry is neither a folder nor metadata of macOS or of an Office document."""
    return bool(name) and not name.endswith("/") and not name.startswith(_METADATA)


def _is_binary(start: bytes) -> bool:
    """Whether bytes are no text in any encoding. Control characters occur in none, except in UTF-16 and UTF-32."""
    sample = start[:4096]
    if len(sample) < _MIN_BYTES or sample.startswith((b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b")) or b"\x00" in sample[:4]:
        return False
    if sample[1:2] == b"\x00" or sample.count(0) * 4 >= len(sample):
        return False
    try:
        start[: len(sample) - 3].decode()
    except UnicodeDecodeError as error:
        if error.start >= len(sample) - 8:
            return False
    else:
        return False
    control = sum(byte < 32 and byte not in b"\t\n\r\x0b\x0c\x1b" for byte in sample)
    return control > _CONTROL_SHARE * len(sample)
