"""Cases of the checks in the section File."""

from __future__ import annotations

import json

from tests.datasets.cases.material import OK, SHAREGPT, Case, numbered
from tests.datasets.rows import (
    asked,
    chat,
    completion,
    jsonl,
    pair,
)

CASES: dict[str, list[Case]] = {
    "file_empty": [Case(b"", 1, "", OK), Case(b" \n\n", 1, "", OK)],
    "file_too_large": [Case(OK, 1, "", OK[: len(OK) // 2], {"max_file_bytes": len(OK) - 1})],
    "not_utf8": [
        Case(OK + b'{"messages": "Gr\xf6\xdfe"}\n', 2, "", OK),
        Case(OK + b'{"Stra\xdfe f\xfcr": 1}\n', 2, "", OK),
    ],
    "byte_order_mark": [Case(b"\xef\xbb\xbf" + OK, 1, "", OK)],
    "crlf": [Case(OK.replace(b"\n", b"\r\n"), 1, "", OK)],
    "nul_byte": [Case(OK + OK.replace(b"Why", b"W\x00y"), 2, "", OK)],
    "line_too_long": [Case(OK + jsonl(asked("x" * 2000)), 2, "", OK, {"max_line_bytes": 1000})],
    "blank_line": [Case(OK + b"\n" + OK, 2, "", OK), Case(OK + b"  \t\r\n" + OK, 2, "", OK)],
    "invalid_json": [
        Case(OK + b"{'messages': []}\n", 2, "", OK),
        Case(OK + b'{"messages": [],}\n', 2, "", OK),
        Case(OK + b'{"messages": [\n', 2, "", OK),
        Case(OK + b'{"a": "tab\there"}\n', 2, "", OK),
        Case(OK + b'{"a": 1} {"b": 2}\n', 2, "", OK),
    ],
    "other_shape": [Case(SHAREGPT, 1, "", OK + SHAREGPT)],
    "not_an_object": [Case(OK + b"[1, 2]\n", 2, "", OK), Case(OK + b"null\n", 2, "", OK)],
    "duplicate_key": [
        Case(OK + b'{"messages": [], "messages": []}\n', 2, "/messages", OK),
        Case(
            OK + b'{"messages": [{"role": "user", "role" : "user", "content": "say \\":\\""}]}\n',
            2,
            "/messages/0/role",
            OK,
        ),
        Case(OK + b'{"a\\\\":1,"b":2,"b":3}\n', 2, "/b", OK + jsonl(asked('He said "a": b', ":) fine\\"))),
    ],
    "nan_or_infinity": [
        Case(OK + b'{"messages": [{"role": "user", "content": NaN}]}\n', 2, "/messages/0/content", OK),
        Case(OK + b'{"messages": [], "x": -Infinity}\n', 2, "/x", OK),
    ],
    "number_out_of_range": [
        Case(OK + b'{"messages": [], "x": 1e999}\n', 2, "/x", OK),
        Case(OK + b'{"messages": [], "x": ' + b"9" * 5000 + b"}\n", 2, "/x", OK),
    ],
    "lone_surrogate": [
        Case(OK + jsonl(asked("half \ud83d")), 2, "/messages/0/content", OK + jsonl(asked("whole \U0001f600"))),
        Case(OK + b'{"messages": [], "\\udc00": 1}\n', 2, "", OK),
    ],
    "too_many_values": [
        Case(
            OK + b'{"messages": [], "x": [' + b"1," * 1_000_000 + b"1]}\n", 2, "", OK + jsonl(asked("1," * 1_000_001))
        ),
    ],
    "nested_too_deep": [
        Case(OK + b'{"a":' * 150 + b"1" + b"}" * 150 + b"\n", 2, "", OK + b'{"a":' * 50 + b"1" + b"}" * 50),
        Case(OK + b"[" * 100_000 + b"\n", 2, "", OK),
    ],
    "json_array_file": [
        Case(json.dumps([chat(), chat()]).encode(), 1, "", OK),
        Case(json.dumps([chat(), chat()], indent=2).encode(), 1, "", jsonl("[1]", chat())),
        Case(json.dumps(chat(), indent=2).encode(), 1, "", OK),
    ],
    "table_file": [
        Case(b"prompt,completion\nWhy?,Because.\n", 1, "", jsonl("hello, world", chat())),
        Case(b"a\tb\n1\t2\n3\t4\n", 1, "", OK),
        Case(b"PK\x03\x04rest of a workbook\n", 1, "", OK),
    ],
    "not_a_dataset": [
        Case(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4665a5ea\nsize 217829\n",
            1,
            "",
            OK,
        ),
        Case(b"<!DOCTYPE html>\n<html><body>Log in</body></html>\n", 1, "", jsonl(asked("<html>"))),
        Case(b'{"error": {"message": "Not found", "type": "invalid_request_error"}}', 1, "", OK),
        Case(b"%PDF-1.7\n", 1, "", OK),
    ],
    "not_text_file": [Case(b"\x1f\x8b\x08rest", 1, "", OK), Case("{}".encode("utf-16"), 1, "", OK)],
    "unknown_format": [
        Case(jsonl(chat(), {"question": "a", "answer": "b"}), 2, "", OK),
        Case(jsonl(chat(), chat(), {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}), 3, "", OK),
    ],
    "mixed_formats": [
        Case(jsonl(chat(), chat(), completion()), 3, "", jsonl(chat(), asked())),
        Case(jsonl(completion(), completion(), pair()), 3, "", jsonl(completion(), completion())),
    ],
    "too_few_examples": [Case(jsonl(*numbered(9)), 1, "", jsonl(*numbered(10)))],
    "few_examples": [
        Case(jsonl(*numbered(49)), 1, "", jsonl(*numbered(50))),
        Case(jsonl(*numbered(10)), 1, "", OK),
    ],
}
