"""Recognises text files that are no training data: pointers, web pages, programs, logs, answers of servers.

A file of rows is never recognised as one of them: each kind has a structure that neither JSON Lines nor a table has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from service.datasets.parsing.binary_kinds import Kind
from service.datasets.parsing.json_faults import object_behind

_SAVE = "Write the rows as JSON Lines: one object per line."
_PROGRAM = f"Run it where it belongs, or remove what is not data. {_SAVE}"
_STARTS = (
    ("version https://git-lfs.github.com/spec/", "a Git LFS pointer", "Run `git lfs pull`, then use the file again."),
    ("{\\rtf", "an RTF document", "Save it as plain text, or copy its rows into a table (XLSX or CSV)."),
    ("[InternetShortcut]", "a shortcut to a web page", "Download the file to which it points."),
    ("HTTP/1.", "an HTTP answer with its headers", "Save only the body (`curl` without `-i`)."),
    ("HTTP/2 ", "an HTTP answer with its headers", "Save only the body (`curl` without `-i`)."),
    ("#!", "a script", _PROGRAM),
    ("-----BEGIN ", "a key or a certificate", "Keep it secret, and use the file with the rows."),
)
_HTML = re.compile(r"\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype html|html|head|body|table)\b", re.IGNORECASE | re.DOTALL)
_LOGIN = re.compile(r"type=.password|sign[ -]?in|log[ -]?in", re.IGNORECASE)
_XML = re.compile(r"\s*<(?:\?xml|svg|rss|feed)\b", re.IGNORECASE)
_S3_ERROR = re.compile(r"<Error>\s*<Code>(\w{1,40})</Code>")
_SQL = re.compile(
    r"\s*(?:-- (?:MySQL|MariaDB|PostgreSQL|Dump|phpMyAdmin)|(?:INSERT INTO|CREATE TABLE|DROP TABLE|PRAGMA |"
    r"BEGIN TRANSACTION)\b)",
    re.IGNORECASE,
)
_NOTEBOOK = re.compile(r'\s*\{\s*"cells"\s*:\s*\[\s*\{[^{}]{0,400}"cell_type"')
_PROGRAM_START = re.compile(
    r"\s*(?:(?://|#)[^\n]*\n\s*)*+(?:export\s+default\b|module\.exports\s*=|(?:const|let|var)\s+[\w$]+\s*(?::[^=\n]*)?=|"
    r"window\.[\w$]+\s*=|[A-Za-z_]\w*\s*=\s*[\[{]\s*[\"'{\[\n]|import [\w.]+(?: as \w+)?\s*\n|from [\w.]+ import )"
)
_PYTHON_ROWS = re.compile(r"\s*(?:\[\s*)?\{\s*'")
_COMMENTED = re.compile(r"\s*(?:(?://|#)[^\n]*\n\s*|(?>/\*.{0,4000}?\*/)\s*)++(?:\[|\{\s*\n)", re.DOTALL)
_YAML = re.compile(
    r"\s*(?:---\s*\n|%YAML[^\n]*\n)?(?:#[^\n]*\n)*+"
    r"(?:- [\w\"']+:(?: [^\n]*)?\n(?: {2,}[^\n]+\n?|- )|[\w-]+:\s*\n\s*- [^\n]|[\w-]+:[ ]*[|>]?[-+]?\s*\n {2,}[\w-]+:)"
)
_FRONT_MATTER = re.compile(r"---\s*\n[\w-]+:")
_TOML = re.compile(r"\s*(?:[;#][^\n]*\n)*+\[{1,2}[A-Za-z_][\w.-]*\]{1,2}\s*\n\s*[\w.-]+\s*=")
_ERROR_TEXT = re.compile(
    r"(?:\d{3}:? )?(?:not found|forbidden|unauthorized|access denied|bad request|bad gateway|internal server error|"
    r"repository not found|entry not found|invalid username or password\.?|too many requests|service unavailable|"
    r"invalid credentials in authorization header)\.?\s*",
    re.IGNORECASE,
)
_ERROR_KEYS = frozenset(
    {
        *("error", "errors", "detail", "details", "message", "msg", "documentation_url", "status", "code", "title"),
        *("type", "timestamp", "path", "request_id", "requestId", "instance", "success", "statusCode", "hint"),
    }
)
_ERROR_SIGNS = ("error", "errors", "detail", "message")
_SHOWN_CHARS = 80


def text_kind(start: bytes, *, by_structure: bool = True) -> Kind | None:
    """The kind of a text file with these first bytes; None for JSON, JSON Lines, tables and plain text.

    Without `by_structure`, only kinds with an unmistakable start are recognised: a table or a text can begin like YAML.
    """
    text = start.decode("utf-8", "replace").lstrip("\ufeff")
    body = text.lstrip()
    for sign, what, advice in _STARTS:
        if body.startswith(sign):
            return Kind(what, advice)
    if _HTML.match(text):
        return _web_page(text)
    if _XML.match(text):
        return _xml(text)
    if _SQL.match(text):
        return Kind("a dump of a database (SQL)", "Export the table as CSV.")
    if len(text) < 4096 and (kind := _answer_of_a_server(text)) is not None:
        return kind
    return _by_structure(text) if by_structure else None


def _web_page(text: str) -> Kind:
    if "urn:schemas-microsoft-com:office" in text or re.match(r"\s*<table\b", text, re.IGNORECASE):
        what = "an HTML table, as exports write it under the name of a spreadsheet"
        return Kind(what, "Open it in a spreadsheet program, and save it as XLSX or CSV.")
    if "github" in text[:20_000].lower():
        return Kind("a page of GitHub (HTML)", "Download the raw file, whose address is at raw.githubusercontent.com.")
    if "Google Drive" in text or "docs.google.com" in text:
        return Kind("a page of Google Drive (HTML)", "Open its address in a browser, and download the file itself.")
    if _LOGIN.search(text):
        return Kind("a web page that asks to log in (HTML)", "Log in, or send a token, and download the file itself.")
    return Kind("a web page (HTML)", "Download the file itself: the address led to a page about it, or to an error.")


def _xml(text: str) -> Kind:
    if (code := _S3_ERROR.search(text)) is not None:
        what = f"an error answer of object storage ({code.group(1)})"
        return Kind(what, "Sign the address anew, and download the file again.")
    if "urn:schemas-microsoft-com:office:spreadsheet" in text:
        return Kind("a spreadsheet in Excel's older XML", "Open it in Excel, and save it as XLSX.")
    return Kind("XML", f"Export its records as CSV. Or: {_SAVE[0].lower()}{_SAVE[1:]}")


def _answer_of_a_server(text: str) -> Kind | None:
    """An error, or a shortcut, that was saved as the file. Both are the whole file."""
    again = "Fetch the file again, and see what the server says."
    if _ERROR_TEXT.fullmatch(text.strip()):
        return Kind(f"an error answer of a server ({text.strip()[:_SHOWN_CHARS]})", again)
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    if "doc_id" in value and isinstance(value.get("url", ""), str):
        return Kind("a shortcut to a Google document", "Download the document as CSV or XLSX.")
    if value and set(value) <= _ERROR_KEYS and (said := _said(value)) is not None:
        return Kind(f"an error answer of a server ({said[:_SHOWN_CHARS]})", again)
    return None


def _said(value: dict[str, Any]) -> str | None:
    for key in _ERROR_SIGNS:
        said = value.get(key)
        if isinstance(said, list) and said:
            said = said[0]
        if isinstance(said, dict):
            said = said.get("message") or said.get("msg") or said.get("code")
        if isinstance(said, str) and said:
            return said
    return None


def _by_structure(text: str) -> Kind | None:
    lines = [line for line in text.splitlines()[:6] if line.strip()][:5]
    if _NOTEBOOK.match(text):
        return Kind("a Jupyter notebook", f"Run it, and let it write its rows. {_SAVE}")
    if _PYTHON_ROWS.match(text) and all(_PYTHON_ROWS.match(line) for line in lines):
        what = "in Python's notation (single quotes, None, True)"
        return Kind(what, "Write each row with json.dumps, and a line break after it.")
    if _PROGRAM_START.match(text):
        return Kind("a program's source", f"JSON has no assignments and no imports. {_PROGRAM}")
    if _COMMENTED.match(text):
        return Kind("JSON with comments", "Remove the comments: JSON has none.")
    if lines and not text.lstrip().startswith(("{", "[")):
        if (prefix := _prefix(lines)) is not None:
            what = f"a log: text such as `{prefix}` stands before objects"
            if prefix.startswith(("data:", "event:", "id:")):
                what = "a stream of server-sent events"
            return Kind(what, "Remove everything before the { of each line.")
        if _YAML.match(text) or _FRONT_MATTER.match(text):
            return Kind("YAML", f"Convert it. {_SAVE}")
    return Kind("a file of settings (TOML or INI)", _SAVE) if _TOML.match(text) else None


def _prefix(lines: Sequence[str]) -> str | None:
    """The text before the object in the first line, if every line has text before an object."""
    if lines[0].lstrip().startswith(('"', "'")):
        return None
    for line in lines:
        if object_behind(line) is None and line is not lines[-1] and not line.startswith(("event:", "id:")):
            return None
    at = object_behind(lines[0])
    return lines[0][:at].strip()[:40] if at else None
