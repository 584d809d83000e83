"""Checks of the file and of its lines: encoding, JSON, format, and the number of examples.

They are declared here; their findings come from the code that reads the bytes (`parsing`, `report`). They are errors,
because an upstream refuses the file or silently drops the line, except blank lines, CRLF and the number of examples.
"""

from __future__ import annotations

import csv
import re

from service.datasets.checks.registry import Hit, declare
from service.datasets.parsing.binary_kinds import Kind, binary_kind
from service.datasets.parsing.text_kinds import text_kind

SECTION = "File"

declare("file_empty", "error", SECTION, "The file is empty or contains only white space.")
declare("file_too_large", "error", SECTION, "The file is larger than the size limit of its project or upstream.")
declare(
    "not_utf8",
    "error",
    SECTION,
    "A line is not valid UTF-8. The message gives the byte, its position in the line and its position in the file, and "
    "names the encoding that the lines are likely to be in.",
    fix="reencode_utf8",
)
declare(
    "byte_order_mark",
    "error",
    SECTION,
    "The file starts with a byte order mark, which some Windows editors write and JSON does not allow.",
    fix="strip_bom",
)
declare(
    "crlf",
    "info",
    SECTION,
    "Lines end with CR LF. This is fine, and reported once, at the first such line.",
    fix="normalize_newlines",
)
declare("nul_byte", "error", SECTION, "A line contains a NUL byte, which JSON does not allow.", fix="strip_nul_bytes")
declare(
    "line_too_long",
    "error",
    SECTION,
    "A line is longer than the limit (16 MB by default). It is not read.",
    fix="drop_unreadable",
)
declare(
    "blank_line",
    "info",
    SECTION,
    "A line is empty or only white space. It is skipped, as it is upstream.",
    fix="drop_blank_lines",
)
declare(
    "invalid_json",
    "error",
    SECTION,
    "A line is not JSON. The message says what is wrong and at which character.",
    fix="drop_unreadable",
)
declare("not_an_object", "error", SECTION, "A line is JSON but not an object.", fix="drop_unreadable")
declare(
    "duplicate_key",
    "error",
    SECTION,
    "A key occurs twice in one object. JSON parsers keep only one of the two values, and differ in which.",
    fix="drop_unreadable",
)
declare(
    "nan_or_infinity",
    "error",
    SECTION,
    "A value is NaN, Infinity or -Infinity, which JSON does not allow.",
    fix="drop_unreadable",
)
declare(
    "number_out_of_range",
    "error",
    SECTION,
    "A number is too large for a double, or has over 300 digits.",
    fix="drop_unreadable",
)
declare(
    "lone_surrogate",
    "error",
    SECTION,
    "A string contains half of a surrogate pair, such as \\ud83d alone. It cannot be encoded as UTF-8 or tokens.",
    fix="drop_unreadable",
)
declare("nested_too_deep", "error", SECTION, "Arrays and objects are nested more than 100 deep.", fix="drop_unreadable")
declare("too_many_values", "error", SECTION, "A line has over 1,000,000 values. It is not read.", fix="drop_unreadable")
LIMIT_REACHED = declare(
    "limit_reached",
    "error",
    SECTION,
    "The check of the file reached its limit of memory or processor time. The message names the limit, its setting and "
    "what was being checked. Only a server reports it.",
)
NOT_CHECKED = declare(
    "not_checked",
    "error",
    SECTION,
    "The file could not be checked: it was deleted before, or the check ended early several times. Only a server "
    "reports it.",
)
declare(
    "json_array_file",
    "error",
    SECTION,
    "The file is JSON and not JSON Lines: one array, an object on several lines, rows inside one object, objects side "
    "by side or with commas behind them, objects inside strings, or JSON in a Markdown code fence. Reported once; the "
    "lines are not checked one by one.",
    fix="json_to_jsonl",
)
declare(
    "table_file",
    "error",
    SECTION,
    "The file is a table (CSV, TSV or a spreadsheet), not JSONL. Reported once; the lines are not checked one by one.",
    fix="table_to_jsonl",
)
declare(
    "other_shape",
    "error",
    SECTION,
    "The rows have the shape that another tool writes (ShareGPT, Alpaca, …), which no upstream accepts. The message "
    "names it. Reported once; the lines are not checked one by one.",
    fix="convert_shape",
)
declare(
    "not_text_file",
    "error",
    SECTION,
    "The file is not UTF-8 text: it is compressed with gzip, or UTF-16 or UTF-32. Reported once.",
    fix="reencode_utf8",
)
declare(
    "not_a_dataset",
    "error",
    SECTION,
    "The file is of another kind: a Git LFS pointer, a web page, a server's error that was saved, a document, a "
    "program, a log, an archive, … The message names it and says what to do. Reported once; the lines are not checked.",
)
declare(
    "unknown_format",
    "error",
    SECTION,
    "A row has the keys of no format: chat (messages), completion (prompt, completion), preference (input, "
    "preferred_output, non_preferred_output) or reinforcement (messages and fields for the grader).",
)
declare(
    "mixed_formats", "error", SECTION, "A row has another format than most of the file. A job trains on one format."
)
declare(
    "too_few_examples",
    "warning",
    SECTION,
    "The file has fewer than 10 examples. It can be used for validation, but a training job on it is refused.",
    scope="dataset",
)
declare(
    "few_examples",
    "warning",
    SECTION,
    "The file has fewer than 50 examples. Training works, but improvements usually show with 50 to 100 good examples.",
    scope="dataset",
)

MIN_EXAMPLES = 10
RECOMMENDED_EXAMPLES = 50
"""Source: OpenAI's guide to supervised fine-tuning: at least 10; clear improvements with 50 to 100."""

_MAGIC = (
    (b"PK\x03\x04", "table_file", "a spreadsheet", "The fix table_to_jsonl converts it."),
    (b"\xd0\xcf\x11\xe0", "table_file", "an old Excel workbook", "The fix table_to_jsonl converts it."),
    (b"\x1f\x8b", "not_text_file", "compressed with gzip", "A preparation unpacks it."),
    (b"\xff\xfe", "not_text_file", "UTF-16 text", "The fix reencode_utf8 converts it."),
    (b"\xfe\xff", "not_text_file", "UTF-16 text", "The fix reencode_utf8 converts it."),
)
_DELIMITERS = ("\t", ",", ";", "|")
_KNOWN_COLUMNS = (
    "prompt", "completion", "question", "answer", "input", "output", "instruction", "response",
    "system", "user", "assistant", "text", "label", "messages",
)  # fmt: skip
_SNIFFED_CHARS = 4_096
_FENCE = re.compile(rb"\s*(?:```|~~~)\s*\w{0,16}\s*")
SNIFFED_BYTES = 1 << 16


def sniff(head: list[bytes], start: bytes = b"") -> tuple[str, Hit] | None:
    """Detects a file that is not JSONL from its first few non-blank lines, and its first bytes if they are given.

    Returns the code and the hit, or None. A file counts as a table or an array only if its first lines support that;
    otherwise a line that is not JSON is reported as such, and the others are read.
    """
    if not head:
        return None
    first = head[0].strip()
    other = other_kind(start)
    if other is not None:
        return "not_a_dataset", Hit("", first, other.message)
    for magic, code, name, advice in _MAGIC:
        if first.startswith(magic):
            return code, Hit("", "", f"This file is {name}, not JSON Lines. {advice}")
    if is_fenced(head):
        message = "The rows are inside a Markdown code fence. The fix json_to_jsonl takes them out."
        return "json_array_file", Hit("", first, message)
    if first.startswith(b"[") and _is_array_of_objects(first, head[1:]):
        message = "This is one JSON array; JSON Lines has one object per line and no brackets or commas around them."
        return "json_array_file", Hit("", first, f"{message} The fix json_to_jsonl converts it.")
    if first.startswith(b"{") and _continues_below(first, head[1:]):
        message = "This is JSON spread over several lines; JSON Lines has one whole object on each line."
        return "json_array_file", Hit("", first, f"{message} The fix json_to_jsonl converts it.")
    if not first.startswith((b"{", b"[")) and _is_table(head):
        message = "This is a table (CSV or TSV), not JSON Lines. The fix table_to_jsonl makes an example of each row."
        return "table_file", Hit("", first, message)
    return None


def other_kind(start: bytes, *, by_structure: bool = True) -> Kind | None:
    """What a file is that has no rows, by its first bytes (`SNIFFED_BYTES` are enough); None for data and for text."""
    start = start[:SNIFFED_BYTES]
    return binary_kind(start) or text_kind(start, by_structure=by_structure)


def is_fenced(head: list[bytes]) -> bool:
    """Whether the first lines are JSON in a Markdown code fence, as chat models and wikis write it."""
    return len(head) > 1 and is_fence(head[0]) and head[1].lstrip().startswith((b"{", b"["))


def is_fence(line: bytes) -> bool:
    """Whether a line opens or closes a Markdown code fence."""
    return _FENCE.fullmatch(line) is not None


def _is_array_of_objects(first: bytes, rest: list[bytes]) -> bool:
    inside = first[1:].lstrip()
    if inside.startswith(b"{"):
        return not (rest and rest[0].lstrip().startswith(b"{") and first.endswith(b"]"))
    return not inside and bool(rest) and rest[0].lstrip().startswith((b"{", b"]", b'"', b"["))


def _continues_below(first: bytes, rest: list[bytes]) -> bool:
    opens = first.endswith((b"{", b"[", b","))
    return opens and bool(rest) and rest[0].lstrip().startswith((b'"', b"}", b"]"))


def _is_table(head: list[bytes]) -> bool:
    if any(line.lstrip().startswith((b"{", b"[{")) for line in head[1:]):
        return False
    for delimiter in _DELIMITERS:
        for line in head[1:]:  # below a title or comments
            if sum(column.strip().lower() in _KNOWN_COLUMNS for column in _columns(line, delimiter)) > 1:
                return True
        columns = _columns(head[0], delimiter)
        if len(columns) < 2:
            continue
        if any(column.strip().lower() in _KNOWN_COLUMNS for column in columns):
            return True
        if len(head) > 1 and all(len(_columns(line, delimiter)) == len(columns) for line in head[1:]):
            return True
    return False


def _columns(line: bytes, delimiter: str) -> list[str]:
    text = line[:_SNIFFED_CHARS].decode("utf-8", "replace").replace("\0", "").strip("\r\n")
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:
        return []
