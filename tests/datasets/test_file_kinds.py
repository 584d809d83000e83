"""A file that is no training data is named once, by the report and by the preparation alike."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from service.datasets.checks.file import other_kind
from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.report.other_layouts import column_layout
from tests.datasets.preparation.sources import make, workbook
from tests.datasets.rows import asked, findings_of, jsonl, report_on

ROOT = Path(__file__).parents[2]
ROW = json.dumps(asked())


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "x" * 40)
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("train.jsonl"))
    return out.getvalue()


def array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(9))
    return out.getvalue()


OPEN_DOCUMENT = zipped("mimetype", "content.xml").replace(b"x" * 40, b"application/vnd.oasis.opendocument.text ", 1)
KINDS = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:46\nsize 217\n", "Run `git lfs pull`"),
    "html": (b"<!DOCTYPE html>\n<html lang=en><title>Not here</title></html>", "a web page (HTML)"),
    "github": (b'\n<html><head><link href="https://github.githubassets.com/x.css">', "raw.githubusercontent.com"),
    "login": (b'<!-- x -->\n<html><body><form><input type="password"></form>', "asks to log in"),
    "drive": (b"<html><head><title>Google Drive - Virus scan warning</title>", "a page of Google Drive"),
    "s3": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "object storage (AccessDenied)"),
    "xml": (b'<?xml version="1.0"?><rows><row/></rows>', "is XML"),
    "rtf": (b"{\\rtf1\\ansi {\\fonttbl}\n{\\b Hi}}", "an RTF document"),
    "comments": (b'// our data\n[\n {"a": 1}\n]\n', "JSON with comments"),
    "javascript": (b'const data = [\n  {"messages": []},\n];\n', "a program's source"),
    "module": (b'export default [{"messages": []}];', "a program's source"),
    "python": (str(asked()).encode() + b"\n" + str(asked()).encode(), "in Python's notation"),
    "python list": (str([asked(), asked()]).encode(), "in Python's notation"),
    "yaml": (b"- messages:\n    - role: user\n      content: Hi\n", "is YAML"),
    "front matter": (b"---\nlicense: mit\ntags:\n- chat\n---\n# Data\n", "is YAML"),
    "toml": (b'[[rows]]\nprompt = "Hi"\n', "TOML"),
    "sql": (b"-- MySQL dump 10.13\n--\nCREATE TABLE `x` (id int);\n", "a dump of a database"),
    "notebook": (b'{\n "cells": [\n  {\n   "cell_type": "code",\n   "source": []}]}', "a Jupyter notebook"),
    "log": (f"2026-01-31 INFO {ROW}\n2026-01-31 INFO {ROW}\n".encode(), "`2026-01-31 INFO`"),
    "events": (f"data: {ROW}\n\ndata: {ROW}\n\n".encode(), "server-sent events"),
    "api error": (b'{"error": {"message": "Incorrect API key", "type": "x"}}', "(Incorrect API key)"),
    "detail": (b'{\n  "detail": "Not found"\n}\n', "(Not found)"),
    "github api": (b'{"message": "Not Found", "documentation_url": "https://x", "status": "404"}', "(Not Found)"),
    "raw 404": (b"404: Not Found", "an error answer of a server (404: Not Found)"),
    "headers": (b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n{}", "with its headers"),
    "gdoc": (b'{"url": "https://docs.google.com/open?id=1", "doc_id": "1", "email": "a@b.c"}', "a Google document"),
    "zip": (zipped("__MACOSX/._train.jsonl", "data/train.jsonl"), "a zip archive with `data/train.jsonl`"),
    "docx": (zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml"), "a Word document"),
    "pptx": (zipped("[Content_Types].xml", "ppt/presentation.xml"), "a PowerPoint"),
    "npz": (zipped("arr_0.npy"), "NumPy arrays"),
    "pytorch": (zipped("archive/data.pkl"), "PyTorch"),
    "numbers": (zipped("Index/Document.iwa"), "Apple Numbers"),
    "old doc": (b"\xd0\xcf\x11\xe0" + bytes(80) + "WordDocument".encode("utf-16-le"), "an old Word document"),
    "tar": (tarred(), "a tar archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "7-Zip"),
    "rar": (b"Rar!\x1a\x07\x01\x00", "RAR"),
    "zstd": (b"(\xb5/\xfd\x04", "zstd"),
    "bzip2": (b"BZh91AY&SY", "bzip2"),
    "xz": (b"\xfd7zXZ\x00\0", "xz"),
    "parquet": (b"PAR1\x15\x04", "a Parquet file"),
    "arrow": (b"ARROW1\0\0", "an Arrow"),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "sqlite": (b"SQLite format 3\x00\x10", "SQLite"),
    "pickle": (pickle.dumps([asked()]), "a Python pickle"),
    "numpy": (array(), "a NumPy array"),
    "safetensors": (b"\x40\0\0\0\0\0\0\0" + b'{"w":{"dtype":"F32"}}', "safetensors"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
    "png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
    "mp3": (b"ID3\x04\0", "an MP3"),
    "wav": (b"RIFF\x24\0\0\0WAVEfmt ", "a recording"),
    "mp4": (b"\0\0\0\x18ftypmp42", "a video"),
    "apple double": (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "without `._`"),
    "lnk": (b"L\x00\x00\x00\x01\x14\x02\x00\0\0", "a shortcut of Windows"),
    "url": (b"[InternetShortcut]\r\nURL=https://x.y/train.jsonl\r\n", "a shortcut to a web page"),
    "nul": (bytes(5_000), "only NUL bytes"),
    "binary": (bytes(range(1, 256)) * 8, "binary data of an unknown kind"),
}


@pytest.mark.parametrize("name", KINDS)
def test_it_is_named_by_both(name: str) -> None:
    data, words = KINDS[name]
    report = report_on(data)
    (finding,) = findings_of(report, "not_a_dataset")
    assert report.errors == 1
    assert words in finding.message
    with pytest.raises(PreparationRefused) as refused:
        make(data, filename="train.jsonl")
    assert refused.value.message == finding.message


def valid_files() -> list[Path]:
    found = [
        *ROOT.glob("examples/*/*.*"),
        *ROOT.glob("tests/real_files/files/*"),
        *ROOT.glob("tests/datasets/**/*.json*"),
    ]
    return [path for path in found if path.suffix in (".jsonl", ".json", ".csv", ".tsv", ".txt", ".xlsx")]


def test_no_file_of_rows_is_named() -> None:
    files = valid_files()
    assert len(files) > 90
    for path in files:
        if path.stem != "not_a_dataset":
            assert other_kind(path.read_bytes()) is None, path


@pytest.mark.parametrize(
    "data",
    [
        jsonl({"error": "E12", "fix": "Restart."}, {"error": "E13", "fix": "Wait."}),
        b"Ingredients:\n- flour\n- milk\n",
        b"question,answer\nimport x,from y\n",
        jsonl(asked("<!doctype html>")),
        "问题,回答\n你好,好\n".encode("gb18030"),
        "вопрос;ответ\nда;нет\n".encode("koi8-r"),
        "{}".encode("utf-16"),
        json.dumps([asked(), asked()], indent=1).encode(),
        b"",
    ],
)
def test_data_and_text_are_not(data: bytes) -> None:
    assert other_kind(data, by_structure=False) is None


class TestMarkdownFences:
    def test_rows_in_a_fence_are_converted(self) -> None:
        data = b"```json\n" + jsonl(asked("A?"), asked("B?")) + b"```\n"
        report = report_on(data)
        assert report.counts == {"json_array_file": 1}
        made = make(data, filename="answer.md")
        assert made.rows == [asked("A?"), asked("B?")]
        assert "Markdown code fence" in "\n".join(made.result.notes)
        assert made.result.changes["json_to_jsonl"] == 1

    def test_an_array_in_a_fence_is_converted(self) -> None:
        data = b"\n```\n" + json.dumps([asked("A?"), asked("B?")], indent=2).encode() + b"\n```"
        assert make(data, filename="answer.txt").rows == [asked("A?"), asked("B?")]

    def test_fences_inside_answers_stay(self) -> None:
        row = asked("How?", "So:\n```json\n{}\n```\n")
        assert make(b"```\n" + jsonl(row) + b"```", filename="answer.md").rows == [row]


def test_the_bytes_of_a_workbook_have_no_names_of_columns() -> None:
    """They contain carriage returns and NUL bytes, which the parser of CSV refuses."""
    report = report_on(workbook([["question", "answer"], ["What?\r\nWhen?", "Now."]]) + b"\r,\n" * 20)
    assert set(report.counts) == {"table_file"}
    assert column_layout([b"PK\x03\x04\x14\r\x00messages", b"[{"]) is None


def test_a_text_that_begins_like_yaml_is_still_a_text() -> None:
    made = make(b"Ingredients:\n- flour\n- milk\n", filename="recipe.txt", target_format="completion")
    assert made.rows[0]["completion"].strip().startswith("Ingredients:")
