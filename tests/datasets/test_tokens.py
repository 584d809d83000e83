"""Token counts are tiktoken's own, from shipped files, without a network."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from service.datasets import tokens
from service.datasets.definitions import definition_tokens
from service.datasets.tokens import ENCODINGS, ENCODINGS_DIR, EncodingDamaged, TiktokenCounter, counter, load_encoding
from tests.datasets.rows import tool


@pytest.mark.parametrize("name", ENCODINGS)
class TestEncoding:
    def test_needs_no_network(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("asked the network")

        monkeypatch.setattr(socket, "socket", refuse)
        load_encoding.cache_clear()
        assert load_encoding(name).encode_ordinary("hello world")

    def test_special_tokens_are_plain_text(self, name: str) -> None:
        assert counter(name).count("<|endoftext|>") == len(load_encoding(name).encode_ordinary("<|endoftext|>")) > 1

    def test_lone_surrogates_count(self, name: str) -> None:
        assert counter(name).count("a \ud83d b") > 0
        first, second = counter(name).count_all(["ok", "a \ud83d b"])
        assert first == 1 < second

    def test_serves_as_tiktokens_own_cache(self, name: str) -> None:
        code = f"import tiktoken; print(len(tiktoken.get_encoding({name!r}).encode('hello world')))"
        environment = {**os.environ, "TIKTOKEN_CACHE_DIR": str(ENCODINGS_DIR), "https_proxy": "http://127.0.0.1:9"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "2"


@given(text=st.text())
@settings(max_examples=300, deadline=None)
def test_the_fast_counter_agrees(text: str) -> None:
    for name in ENCODINGS:
        reference = TiktokenCounter(load_encoding(name))
        assert counter(name).count(text) == reference.count(text)
        assert list(counter(name).count_all([text, "x"])) == [reference.count(text), reference.count("x")]


def test_a_damaged_file_is_refused_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ENCODINGS_DIR.iterdir():
        if path.is_file() and not path.suffix:
            (tmp_path / path.name).write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr(tokens, "ENCODINGS_DIR", tmp_path)
    load_encoding.cache_clear()
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(EncodingDamaged, match="sha256"):
        load_encoding("o200k_base")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    load_encoding.cache_clear()


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "ENCODINGS_DIR", tmp_path)
    load_encoding.cache_clear()
    with pytest.raises(EncodingDamaged, match="reinstall"):
        load_encoding("cl100k_base")
    load_encoding.cache_clear()


def test_names_are_the_sha1_of_urls() -> None:
    for name in ENCODINGS:
        url = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
        assert (ENCODINGS_DIR / hashlib.sha1(url.encode()).hexdigest()).is_file()


def test_without_the_fast_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "quicktok", None)
    counter.cache_clear()
    assert isinstance(counter("o200k_base"), TiktokenCounter)
    counter.cache_clear()


def test_a_fast_counter_that_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def count(self, text: str) -> int:
            return 1

        def count_all(self, texts: list[str]) -> list[int]:
            return [1 for _ in texts]

    monkeypatch.setattr(tokens, "_quicktok_counter", lambda encoding: Wrong())
    counter.cache_clear()
    assert isinstance(counter("o200k_base"), TiktokenCounter)
    counter.cache_clear()


def test_definitions_by_the_cookbooks_rule() -> None:
    """7 + name:description + 3; a property 3 + key:type:description; an enumeration -3 + 3 an item; 12 at the end."""
    count = load_encoding("o200k_base").encode_ordinary
    properties = {"city": {"type": "string", "description": "City."}, "unit": {"type": "string", "enum": ["C", "F"]}}
    function = {"name": "weather", "description": "Tells.", "parameters": {"type": "object", "properties": properties}}
    expected = 7 + len(count("weather:Tells")) + 3
    expected += 3 + len(count("city:string:City")) + 3 + (-3 + 3 + len(count("C")) + 3 + len(count("F")))
    expected += len(count("unit:string:")) + 12
    assert definition_tokens([function], lambda text: len(count(text)), "o200k_base") == expected


def test_definitions_that_are_none_cost_nothing() -> None:
    assert definition_tokens([None, 5, "x"], len, "o200k_base") == 0
    assert definition_tokens([tool()["function"]], len, "cl100k_base") > 0


def test_tiktoken_is_the_installed_one() -> None:
    assert tiktoken.Encoding is type(load_encoding("o200k_base"))
