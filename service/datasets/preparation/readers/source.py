"""Opens an input: detects the kind of file by its content, then by its name, and chooses its reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath

from service.datasets.checks.file import SNIFFED_BYTES, is_fence, is_fenced, other_kind, sniff
from service.datasets.parsing.json_layouts import are_arrays, is_encoded_twice
from service.datasets.preparation.changes import ChangeLog
from service.datasets.preparation.options import Options
from service.datasets.preparation.readers.dialect import names_columns, separator_line
from service.datasets.preparation.readers.json_lines import read_json_lines
from service.datasets.preparation.readers.json_values import contains_rows, read_json
from service.datasets.preparation.readers.reading import GZIP_MAGIC, Chunks, Reading, Source, unpacked
from service.datasets.preparation.readers.table import read_delimited
from service.datasets.preparation.readers.text import Text
from service.datasets.preparation.readers.unfolding import unfold
from service.datasets.preparation.readers.workbook import read_workbook
from service.datasets.preparation.refusals import PreparationRefused, Problems

_WORKBOOK_MAGIC = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_HEAD_LINES = 5
_MAX_FENCE_BYTES = 80
_JSON_LINES = (".jsonl", ".ndjson")
_TABLES = {".csv": None, ".tsv": "\t", ".tab": "\t"}


def open_source(chunks: Chunks, *, filename: str, options: Options, log: ChangeLog, problems: Problems) -> Source:
    """The rows of a file, with their kind, encoding and columns. Raises `PreparationRefused`."""
    if not next(chunks(), b""):
        raise PreparationRefused("The file is empty.")
    plain = unpacked(chunks)
    if plain is not chunks:
        filename = filename.removesuffix(".gz")
        log.changed("reencode_utf8", 1, "gzip", "utf-8")
    suffix = PurePath(filename).suffix.lower()
    head = start_of(plain)
    if head.startswith(GZIP_MAGIC):
        raise PreparationRefused("The file is compressed twice. Unpack it once.")
    kind = other_kind(head, by_structure=suffix not in (*_TABLES, ".txt"))
    if kind is not None:
        raise PreparationRefused(kind.message)
    reading = Reading(plain, options, log, problems)
    return unfold(_opened(reading, head, suffix), reading)


def _opened(reading: Reading, head: bytes, suffix: str) -> Source:
    if head.startswith(_WORKBOOK_MAGIC):
        return read_workbook(reading)
    if suffix in _TABLES:
        kind = suffix[1:].replace("tab", "tsv")
        return read_delimited(reading, Text(reading), expected=_TABLES[suffix], kind=kind)
    return _by_content(reading, Text(reading), suffix)


def _by_content(reading: Reading, text: Text, suffix: str) -> Source:
    lines = text.first_lines(_HEAD_LINES)
    if not lines:
        raise PreparationRefused("The file is empty: it holds nothing but white space.")
    options = reading.options
    is_json = lines[0].lstrip().startswith((b"{", b"["))
    is_table = options.delimiter is not None or (options.header is not None and not is_json)
    if is_table or separator_line(lines[0].decode("utf-8", "replace")) is not None:
        return read_delimited(reading, text, expected=None, kind="csv")
    if is_fenced(lines):
        reading.log.changed("json_to_jsonl", 1, lines[0].decode("utf-8", "replace"), "")
        unfenced = replace(reading, chunks=without_fences(reading.chunks))
        source = _by_content(unfenced, Text(unfenced), suffix)
        source.notes.append("The rows were in a Markdown code fence; its lines are left out.")
        return source
    if is_encoded_twice(lines[0]) or are_arrays(lines):
        return read_json_lines(reading, text)
    found = sniff(lines)
    kind = found[0] if found is not None else None
    if kind == "json_array_file" or suffix == ".json" or (len(lines) == 1 and contains_rows(lines[0])):
        return read_json(reading, text)
    starts_like_json = any(line.lstrip().startswith((b"{", b"[")) for line in lines)
    if kind is None and (starts_like_json or suffix in _JSON_LINES):
        return read_json_lines(reading, text)
    if kind == "table_file" and (suffix != ".txt" or names_columns(lines[0].decode("utf-8", "replace"))):
        return read_delimited(reading, text, expected=None, kind="csv")
    return _read_text(text)


def start_of(chunks: Chunks) -> bytes:
    """The first bytes of an input, enough to see what it is."""
    start = b""
    for chunk in chunks():
        start += chunk[:SNIFFED_BYTES]
        if len(start) >= SNIFFED_BYTES:
            break
    return start


def without_fences(chunks: Chunks) -> Chunks:
    """The input with empty lines in place of Markdown code fences."""
    return lambda: _without_fences(chunks())


def _without_fences(chunks: Iterator[bytes]) -> Iterator[bytes]:
    pending, starts_line = b"", True
    for chunk in chunks:
        for piece in chunk.splitlines(keepends=True):
            pending += piece
            if not piece.endswith(b"\n") and len(pending) < _MAX_FENCE_BYTES:
                continue
            yield b"\n" if starts_line and is_fence(pending) else pending
            pending, starts_line = b"", pending.endswith(b"\n")
    if not (starts_line and is_fence(pending)):
        yield pending


def _read_text(text: Text) -> Source:
    """A text file: each line is an answer without a question, as in `prepare_data`."""
    rows = ((number, {"text": line}) for number, line in text.lines(blank=False))
    return Source(kind="txt", encoding=text.guess, notes=text.notes, unit="line", columns=["text"], rows=rows)
