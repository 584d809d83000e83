"""Whatever the bytes are, the report is made, counts add up, and the fast paths say what the careful ones say."""

from __future__ import annotations

import json
import time
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.datasets.checks import CHECKS
from service.datasets.checks.registry import row_checks
from service.datasets.excerpts import excerpt, mask
from service.datasets.parsing.decode import decode_line
from service.datasets.parsing.fast_chat import FastChatRow, parse_fast_chat
from service.datasets.parsing.formats import read_example, row_format
from service.datasets.parsing.lines import read_lines
from service.datasets.report_schema import FileReport, Format
from tests.datasets.rows import asked, calling, chat, completion, graded, jsonl, message, pair, report_on, with_image

KEYS = [
    *("messages", "role", "content", "name", "weight", "tools", "functions", "tool_calls", "function", "function_call"),
    *("arguments", "parameters", "type", "id", "tool_call_id", "input", "preferred_output", "non_preferred_output"),
    *("prompt", "completion", "image_url", "url", "detail", "text", "properties", "items", "enum", "x", "a/b~"),
]
WORDS = [
    "system",
    "user",
    "assistant",
    "tool",
    "function",
    "object",
    "image_url",
    "text",
    "",
    " ",
    "{}",
    "weather",
    "\ud800",
]
TEXTS = ["", " ", "Hi", "{}", '{"city": 5}', "好的,没问题", "sk-" + "a1B2" * 8, "ann@corp.com", "\x00", "\u200b", "Ã©"]
SEEDS: list[Any] = [asked(), chat(), calling(), completion(), pair(), graded(), with_image("https://a.b/c.png")]
SEED = st.integers(0, 2**64)
"""What is drawn from it costs a tenth of what hypothesis takes for values as deep as these."""


def any_value(random: Random, depth: int = 4) -> Any:
    match random.randrange(9 if depth else 6):
        case 0:
            return random.choice([None, True, False])
        case 1:
            return random.choice([0, 1, -1, 2**70, 10**20])
        case 2:
            return random.choice([0.0, -1.5, 1e300, float("nan"), float("inf")])
        case 3:
            return random.choice(TEXTS)
        case 4 | 5:
            return random.choice(WORDS)
        case 6:
            return [any_value(random, depth - 1) for _ in range(random.randrange(4))]
        case _:
            return {random.choice(KEYS): any_value(random, depth - 1) for _ in range(random.randrange(5))}


def mutated(random: Random) -> Any:
    """A valid row with something in it replaced."""
    row = json.loads(json.dumps(random.choice(SEEDS)))
    for _ in range(random.randint(1, 3)):
        node = row
        while isinstance(node, (dict, list)) and node:
            key = random.choice(list(node) if isinstance(node, dict) else list(range(len(node))))
            if not isinstance(node[key], (dict, list)) or random.random() < 0.5:
                node[key] = any_value(random)
                break
            node = node[key]
    return row


def check_consistent(report: FileReport) -> None:
    assert msgspec.json.decode(msgspec.json.encode(report), type=FileReport) == report
    assert set(report.counts) <= set(CHECKS)
    assert report.errors + report.warnings + report.infos == sum(report.counts.values())
    assert len(report.findings) == sum(min(count, 100) for count in report.counts.values())
    assert all(finding.line >= 1 and len(finding.excerpt) <= 120 for finding in report.findings)
    assert report.tokens is not None
    assert report.tokens.trained + report.tokens.definitions <= report.tokens.total
    if report.cookbook is not None:
        assert report.cookbook.tokens <= report.billable_tokens_per_epoch


@given(data=st.binary(max_size=400), lead=st.sampled_from([b"", jsonl(chat()), b"\xef\xbb\xbf", b"[", b'{"a":']))
@settings(max_examples=200, deadline=None)
def test_any_bytes(data: bytes, lead: bytes) -> None:
    check_consistent(report_on(lead + data, max_line_bytes=300))


@given(seed=SEED)
@settings(max_examples=150, deadline=None)
def test_any_json(seed: int) -> None:
    random = Random(seed)
    rows = [any_value(random) for _ in range(random.randrange(7))]
    check_consistent(report_on(jsonl(*[json.dumps(row) for row in rows])))


@given(seed=SEED)
@settings(max_examples=200, deadline=None)
def test_nearly_valid_rows(seed: int) -> None:
    random = Random(seed)
    rows = [mutated(random) for _ in range(random.randint(1, 4))]
    check_consistent(report_on(jsonl(*[json.dumps(row) for row in rows])))


@given(seed=SEED)
@settings(max_examples=300, deadline=None)
def test_every_check_takes_every_row(seed: int) -> None:
    row: dict[str, Any] = mutated(Random(seed))
    names: tuple[Format, ...] = ("chat", "completion", "preference", "reinforcement")
    for name in names:
        for check in row_checks(name):
            assert check.on_row is not None
            list(check.on_row(row))
        read_example(1, row, name)
    row_format(row)


CONTENTS = st.text(max_size=20) | st.sampled_from(["", " ", "Hi"])
ROLES = st.sampled_from(["system", "user", "assistant", "developer", "human"])
MESSAGES = st.fixed_dictionaries(
    {"role": ROLES, "content": CONTENTS}, optional={"name": st.just("ann"), "weight": st.just(0)}
)


@given(messages=st.lists(MESSAGES, max_size=5))
@settings(max_examples=300, deadline=None)
def test_the_plain_path_skips_nothing(messages: list[dict[str, Any]]) -> None:
    row = {"messages": messages}
    try:
        plain = parse_fast_chat(1, msgspec.convert(row, FastChatRow))
    except msgspec.ValidationError:
        return
    if plain is None:
        return
    for check in row_checks("chat"):
        assert check.on_row is not None
        assert not list(check.on_row(row)), check.code
    careful = read_example(1, row, "chat")
    for field in (
        "pieces",
        "labels",
        "overhead",
        "extra_overhead",
        "definitions",
        "system",
        "answer",
        "answer_pointer",
        "has_prompt",
    ):
        assert getattr(plain, field) == getattr(careful, field)


def _key_tree(depth: int) -> st.SearchStrategy[str]:
    """JSON objects as text, with duplicate keys, odd spaces and odd strings."""
    key = st.sampled_from(['"a"', '"b"', '"a\\\\"', '"b\\":"', '":"', '"\\u0061"'])
    space = st.sampled_from(["", "", " ", "\t"])
    scalar = st.sampled_from(["1", '"x"', '":"', '"\\":\\\\"', "null", '" : "'])
    value = scalar if depth == 0 else scalar | _key_tree(depth - 1)
    entry = st.tuples(key, space, value).map(lambda parts: f"{parts[0]}{parts[1]}:{parts[2]}")
    return st.lists(entry, max_size=3).map(lambda entries: "{" + ",".join(entries) + "}")


@given(text=_key_tree(2))
@settings(max_examples=300, deadline=None)
def test_duplicate_keys_are_always_found(text: str) -> None:
    duplicated: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        duplicated.extend(key for key in dict(pairs) if [other for other, _ in pairs].count(key) > 1)
        return dict(pairs)

    json.loads(text, object_pairs_hook=note)
    row, faults = decode_line(text.encode(), 0)
    assert isinstance(row, dict)
    found = [fault for fault in faults if fault.code == "duplicate_key"]
    assert bool(found) == bool(duplicated)


@given(pieces=st.lists(st.binary(max_size=30), max_size=12), limit=st.integers(1, 40))
def test_lines_are_those_of_the_whole(pieces: list[bytes], limit: int) -> None:
    data = b"".join(pieces)
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    lines = list(read_lines(pieces, max_line_bytes=limit))
    assert [line.length_bytes for line in lines] == [len(line) for line in expected]
    assert [line.number for line in lines] == list(range(1, len(expected) + 1))
    for line, whole in zip(lines, expected, strict=True):
        assert line.too_long == (len(whole) > limit)
        assert whole.startswith(line.data) if line.too_long else whole == line.data
        assert data[line.offset : line.offset + line.length_bytes] == whole


@given(text=st.text(), at=st.integers(0, 200))
def test_excerpts_are_short_and_on_one_line(text: str, at: int) -> None:
    shown = excerpt(text, at)
    assert len(shown) <= 120
    assert "\n" not in shown
    assert len(mask(text)) == len(text)
    shown.encode()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a" * 500_000,
            "@" * 500_000,
            "a@" * 300_000,
            "eyJ-" * 200_000,
            "1 " * 300_000,
            "-----BEGIN " * 70_000,
        ),
        *("-----BEGIN PRIVATE KEY-----" * 30_000, "sk-" * 250_000, "SG." * 250_000, "9" * 300_000, "(" * 300_000),
        *(" " * 300_000, "```" * 150_000, "\n" * 300_000, "好" * 200_000, "\u0301" * 200_000, "Sure! " * 100_000),
    ],
    ids=lambda text: repr(text[:12]),
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    start = time.process_time()
    check_consistent(report_on(jsonl(chat(message("user", text), message("assistant", text))), quick=True))
    assert time.process_time() - start < 60, "seconds; what grows with the square would take hours"
