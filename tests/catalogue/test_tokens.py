"""Token counts are tiktoken's own, from shipped files, without a network."""

from __future__ import annotations

import hashlib
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import tiktoken
import tiktoken.load
from hypothesis import given, settings
from hypothesis import strategies as st

from service.catalogue import tokens
from service.catalogue.tokenizer_check import TokenizerCheck
from service.catalogue.tokens import (
    ENCODINGS,
    ENCODINGS_DIR,
    CountsDiffer,
    EncodingDamaged,
    TokenCounter,
    fast_counter,
    load_encoding,
    reference_counter,
)
from service.datasets.report import build
from service.datasets.report.build import build_report
from service.datasets.report.definition_tokens import definition_tokens
from tests.datasets.rows import MODEL, asked, jsonl, report_on, tool

SPACES_AND_MORE = [
    *(" ", "  ", "     ", "\t", "\n", "\r", "\u3000", "\xa0", "\x85", "\x1c", "\u2028"),
    *("a", "B", "!", "/", "1", "é", "你", "'s"),
]


def counters(encoding: str) -> list[TokenCounter]:
    quick = fast_counter(encoding)
    assert quick is not None
    return [reference_counter(encoding), quick]


@pytest.fixture(params=ENCODINGS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestEncoding:
    def test_needs_no_network(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("asked the network")

        monkeypatch.setattr(socket, "socket", refuse)
        assert load_encoding.__wrapped__(name).encode_ordinary("hello world")

    def test_serves_as_tiktokens_own_cache(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any) -> bytes:
            raise AssertionError("asked the network")

        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(ENCODINGS_DIR))
        monkeypatch.setattr(tiktoken.load, "read_file", refuse)
        url = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
        path = ENCODINGS_DIR / hashlib.sha1(url.encode()).hexdigest()
        assert tiktoken.load.read_file_cached(url, hashlib.sha256(path.read_bytes()).hexdigest()) == path.read_bytes()


class TestCounters:
    def test_special_tokens_are_plain_text(self, name: str) -> None:
        tokens = len(load_encoding(name).encode_ordinary("<|endoftext|>"))
        assert [counter.count("<|endoftext|>") for counter in counters(name)] == [tokens, tokens]
        assert tokens > 1

    def test_lone_surrogates_count(self, name: str) -> None:
        one, other = [counter.count("a \ud83d b") for counter in counters(name)]
        assert one == other > 0

    @given(text=st.text())
    @settings(max_examples=300, deadline=None)
    def test_they_agree(self, text: str) -> None:
        for encoding in ENCODINGS:
            one, other = [counter.count(text) for counter in counters(encoding)]
            assert one == other

    @given(parts=st.lists(st.sampled_from(SPACES_AND_MORE), max_size=12))
    @settings(max_examples=500, deadline=None)
    def test_long_spaces_are_counted_as_others(self, parts: list[str]) -> None:
        text = "".join(parts)
        with mock.patch.object(tokens, "LONG_SPACE_CHARS", 4):
            for encoding in ENCODINGS:
                assert reference_counter(encoding).count(text) == len(load_encoding(encoding).encode_ordinary(text))

    @pytest.mark.parametrize(("encoding", "ending"), [("o200k_base", ""), ("o200k_base", "x"), ("cl100k_base", "x")])
    def test_a_million_spaces(self, encoding: str, ending: str) -> None:
        """tiktoken alone panics on them."""
        one, other = [counter.count("a" + " " * 1_000_000 + ending) for counter in counters(encoding)]
        assert one == other > 7_000

    def test_none_without_quicktok(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "quicktok", None)
        assert fast_counter.__wrapped__("o200k_base") is None


class Wrong:
    """Counts like tiktoken, but for texts with a certain word."""

    def __init__(self, word: str) -> None:
        self.word = word

    def count(self, text: str) -> int:
        return reference_counter("o200k_base").count(text) + (self.word in text)

    def count_all(self, texts: Sequence[str]) -> list[int]:
        return [self.count(text) for text in texts]


@pytest.mark.parametrize("in_subprocess", [False, True])
class TestTokenizerCheck:
    def test_all_is_well(self, in_subprocess: bool) -> None:
        tokenizer_check = TokenizerCheck("o200k_base", in_subprocess=in_subprocess)
        tokenizer_check.check_edge_cases(reference_counter("o200k_base"))
        tokenizer_check.compare("hello world", 2)
        tokenizer_check.finish()

    @pytest.mark.parametrize(("counter", "sample"), [(Wrong("Hello"), 2), (Wrong("nothing"), 3)])
    def test_what_differs_is_raised(self, counter: Wrong, sample: int, in_subprocess: bool) -> None:
        tokenizer_check = TokenizerCheck("o200k_base", in_subprocess=in_subprocess)
        with pytest.raises(CountsDiffer):
            tokenizer_check.check_edge_cases(counter)
            tokenizer_check.compare("hello world", sample)
            tokenizer_check.finish()
        tokenizer_check.close()

    def test_what_keeps_it_from_comparing_is_raised(self, in_subprocess: bool) -> None:
        tokenizer_check = TokenizerCheck("p50k_base", in_subprocess=in_subprocess)
        with pytest.raises(KeyError, match="p50k"):
            tokenizer_check.compare("hello world", 2)
            tokenizer_check.finish()

    def test_a_file_is_read_again_by_tiktoken(self, monkeypatch: pytest.MonkeyPatch, in_subprocess: bool) -> None:
        data = jsonl(*[asked(f"Question {index} of a wrong count?") for index in range(30)])
        right = report_on(data)
        monkeypatch.setattr(build, "fast_counter", lambda encoding: Wrong("wrong"))
        assert report_on(data, quick=True, processes=1 + in_subprocess) == right
        with pytest.raises(CountsDiffer):
            build_report(iter([data]), file_id="f", model=MODEL, prices=[], quick=True)


def test_a_damaged_file_is_refused_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ENCODINGS_DIR.iterdir():
        if path.is_file() and not path.suffix:
            (tmp_path / path.name).write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr(tokens, "ENCODINGS_DIR", tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(EncodingDamaged, match="sha256"):
        load_encoding.__wrapped__("o200k_base")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "ENCODINGS_DIR", tmp_path)
    with pytest.raises(EncodingDamaged, match="reinstall"):
        load_encoding.__wrapped__("cl100k_base")


def test_names_are_the_sha1_of_urls() -> None:
    for name in ENCODINGS:
        url = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
        assert (ENCODINGS_DIR / hashlib.sha1(url.encode()).hexdigest()).is_file()


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
