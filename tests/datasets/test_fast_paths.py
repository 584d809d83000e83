"""Fast paths give the result of the slow path: searches, prefilters, needs, and work done in two halves."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from random import Random
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.datasets.checks import CHECKS
from service.datasets.checks.registry import row_checks
from service.datasets.excerpts import DIGIT_RUN, SECRET
from service.datasets.parsing import pattern_search
from service.datasets.parsing.formats import ROLES, traits
from service.datasets.parsing.pattern_search import Search
from service.datasets.report import format_detection
from tests.datasets.rows import asked, jsonl, report_on
from tests.datasets.test_fuzz import SEED, mutated

TEXT_CHECKS = [check for check in CHECKS.values() if check.scope == "text"]
ANSWER_CHECKS = [check for check in CHECKS.values() if check.scope == "answer"]
ROW_CHECKS: dict[str, Any] = {
    check.code: check for name in ("chat", "completion", "preference", "reinforcement") for check in row_checks(name)
}

HYPERSCAN: dict[str, Any] = {"COMPILED_FROM_BYTES": 0}
RE: dict[str, Any] = {"COMPILED_FROM_BYTES": 1 << 30, "compiled": {}}
"""What `pattern_search` must have to use one of the two for texts of any size."""

STARTS = [
    *(
        "sk-",
        "sk_live_",
        "rk_test_",
        "pk_live_",
        "AKIA",
        "ASIA",
        "ghp_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "xoxb-",
        "xoxs-",
    ),
    *(
        "AIza",
        "hf_",
        "npm_",
        "pypi-",
        "SG.",
        "SG." + "a" * 16 + ".",
        "whsec_",
        "eyJ" + "b" * 13 + ".eyJ" + "c" * 8 + ".",
    ),
    *("-----BEGIN PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY BLOCK-----", "x-eyJ", "AASIA", "eyJ-"),
]
SECRETS = st.builds(
    lambda start, one, times: start + one * times,
    st.sampled_from(STARTS),
    st.sampled_from("aA0_-=/"),
    st.integers(8, 52),
)
"""Tokens of every form, some just too short."""

PERSONAL = st.sampled_from(
    [
        *("ann@corp.com", "@", "+49 (30) 123/456-78", "4111 1111 1111 1111", "4111111111111111", "078-05-1120"),
        *("11010519491231002X", "13812345678", "12345678", "123456789", "12/34/56/78/9", "1 2 3 4 5 6 7 8 9"),
    ]
)
BROKEN = st.sampled_from(["Ã©", "â€™", "Â\xa0", "ï»¿", "\ufffd", "锟斤拷", "烫烫烫", "<|endoftext|>", "<|", "é", "好"])
CONTROLS = st.sampled_from(
    ["\x00", "\x07", "\b", "\f", "\x1b", "\x7f", "\u200b", "\u2060", "\ufeff", "\u202e", "\u2069"]
)
PLAIN = st.sampled_from([" ", "\n", "\t", '"', "\\", "/", ".", "a", "Z", "0", "x", "_", "\ud83d", "👍"])
TEXT = st.lists(SECRETS | PERSONAL | BROKEN | CONTROLS | PLAIN, min_size=1, max_size=6).map("".join)


def written(row: Any, style: int) -> str:
    """A row as different writers of JSON write it."""
    text = json.dumps(row, ensure_ascii=style % 2 == 0 or "\\ud83d" in json.dumps(row))
    if style & 2:
        text = text.replace("/", "\\/")
    if style & 4:
        text = text.replace("@", "\\u0040").replace(".", "\\u002e")
    return text


@pytest.mark.parametrize("kind", [HYPERSCAN, RE])
@given(texts=st.lists(TEXT, min_size=1, max_size=6), styles=st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_checks_of_texts_find_what_they_find_in_every_text(kind: dict[str, Any], texts: list[str], styles: int) -> None:
    rows = [asked(text, "Because it is so.") for text in texts]
    data = [written(row, styles >> 3 * at & 7) for at, row in enumerate(rows)]
    found: dict[str, int] = {}
    for row in map(json.loads, data):
        for message in row["messages"]:
            for check in TEXT_CHECKS:
                assert check.on_text is not None
                hits = len(list(check.on_text(message["content"])))
                if hits:
                    found[check.code] = found.get(check.code, 0) + hits
    with mock.patch.multiple(pattern_search, **kind):
        counts = report_on(jsonl(*data)).counts
    assert {check.code: counts[check.code] for check in TEXT_CHECKS if check.code in counts} == found


@given(text=TEXT)
@settings(max_examples=300, deadline=None)
def test_what_a_pattern_stands_for_has_it(text: str) -> None:
    """Of the texts that a check finds anything in; also of what excerpts mask by the same forms."""
    encoded = text.encode("utf-8", "replace")
    patterns = {check.code: check.pattern for check in TEXT_CHECKS}
    for code, form in (("secret_found", SECRET), ("personal_phone", DIGIT_RUN)):
        assert not form.search(text) or re.search(patterns[code] or b"", encoded)


@given(parts=st.lists(st.binary(max_size=12) | TEXT.map(lambda text: text.encode("utf-8", "replace")), max_size=8))
@settings(max_examples=200, deadline=None)
def test_searches_of_both_kinds_agree(parts: list[bytes]) -> None:
    assert find_spec("hyperscan"), "make setup installs it; without it, this compares one thing with itself"
    data = b"".join(part.replace(b"\n", b" ") + b"\n" for part in parts)
    patterns = {(check.pattern, check.pattern_for_re) for check in TEXT_CHECKS if check.pattern}
    for pattern, for_re in patterns | {(rb'"[ \t\r]+:', None), (rb"\\[u/bf]", None)}:
        both = []
        for kind in (HYPERSCAN, RE):
            with mock.patch.multiple(pattern_search, **kind):
                both.append(Search(pattern, for_re=for_re).ends(data))
        assert both[0] == both[1]


OPENINGS = st.sampled_from(
    [
        *(
            "Sure",
            "sure thing",
            "Certainly",
            "Absolutely",
            "Definitely",
            "Okay",
            "OK",
            "Alright",
            "All right",
            "Got it",
        ),
        *("No problem", "Of course", "Great", "Understood", "My pleasure", "With pleasure", "That's a great question"),
        *(
            "What an interesting question",
            "Excellent question",
            "Good question",
            "I'd be happy to help",
            "Thank you for",
        ),
        *(
            "I’ll be glad to assist",
            "i would be happy to help",
            "thank you for asking",
            "ſure",
            "OKay",
            "I'm sorry, but ",
        ),
        *(
            "I am sorry. I cannot",
            "Sorry, I can't",
            "Unfortunately, I won't",
            "I apologise, but I am unable to",
            "I cannot",
        ),
        *(
            "I’m unable to",
            "As an AI",
            "As a large language model",
            "好的",
            "没问题",
            "当然可以",
            "很抱歉,我无法提供",
            "作为一个AI",
        ),
        *("我不能回答", "了解", "The", "İ", "ı'm sorry", "1"),
    ]
)
CASE_CHANGES = st.sampled_from([str, str.upper, str.lower, str.title])
ENDS = st.sampled_from(
    [".", "!", "?", "。", ",", "(", "—", "```", "…", '"', "and then", " ", "\n", "1", "所以", "\u3000", ""]
)


@given(
    before=st.sampled_from(["", " ", "\n", "\u3000", "x", "\x1c"]),
    opening=OPENINGS | st.text(max_size=3),
    turn=CASE_CHANGES,
    middle=st.sampled_from(
        ["", "! ", ",", "。", " here it is", " I do", " ```code``` ", "long words " * 12, "很长" * 30]
    ),
    end=ENDS | st.text(max_size=2),
)
@settings(max_examples=600, deadline=None)
def test_a_prefilter_misses_nothing(before: str, opening: str, turn: Any, middle: str, end: str) -> None:
    text = before + turn(opening) + middle + end
    for check in ANSWER_CHECKS:
        if text and check.prefilter is not None and check.on_text is not None and not check.prefilter(text):
            assert not list(check.on_text(text)), check.code


LIKE_LETTERS = re.findall("[a-z]", "".join(map(chr, range(0x80, 0x110000))), re.IGNORECASE)


@pytest.mark.parametrize(
    "text",
    [
        *("Sure! Yes.", "Okay, yes.", "I'd be glad to help. Yes.", "Interesting question. Yes.", "Understood. Yes."),
        *(
            "好的,是。",
            "没问题,是。",
            "没有问题,是。",
            "当然,是。",
            "可以的,是。",
            "明白,是。",
            "收到,是。",
            "了解,是。",
        ),
        *("嗯,是。", "很高兴为您服务,是。", "这是一个很好的问题,是。", "非常好的问题,是。", "感谢您的提问,是。"),
        *("Sorry, I can't.", "I'm sorry, I can't.", "I cannot.", "As an AI, no.", "Unfortunately, I won't."),
        *(
            "抱歉,我无法提供。",
            "很抱歉,我不能回答。",
            "非常遗憾,我无法提供。",
            "对不起,我无法提供。",
            "不好意思,我无法提供。",
        ),
        *("遗憾,我无法提供。", "作为一个AI,不。", "我无法提供。"),
    ],
)
def test_a_prefilter_knows_every_first_character(text: str) -> None:
    checks = [check for check in ANSWER_CHECKS if check.code in ("filler_opening", "refusal")]
    found = 0
    for written in (text, text.lower(), text.upper(), *(text.replace(text[0], char, 1) for char in LIKE_LETTERS)):
        for check in checks:
            if check.on_text is not None and check.prefilter is not None and list(check.on_text(written)):
                found += 1
                assert check.prefilter(written), (check.code, written)
    assert found


@given(seed=SEED)
@settings(max_examples=600, deadline=None)
def test_a_row_without_what_a_check_needs_has_nothing_for_it(seed: int) -> None:
    row: dict[str, Any] = mutated(Random(seed))
    there = traits(row)
    for check in ROW_CHECKS.values():
        if check.needs and check.needs.isdisjoint(there):
            assert not list(check.on_row(row)), check.code


WRITTEN = st.sampled_from(
    [
        *('[{"role": "user", "content": "Hi."}]', '{"messages": []}', "Human: Hi.\n\nAssistant: Hello.", "<image>"),
        *("### Instruction:\nSay hi.", "[INST] Hi. [/INST] Hello.", "['a' 'b']", "A) one\nB) two", "1"),
    ]
)


@given(
    roles=st.lists(st.sampled_from([*ROLES, "human", "model", ""]), max_size=4),
    texts=st.lists(WRITTEN | TEXT, min_size=4, max_size=4),
    more=st.sampled_from([{}, {"name": "Ada"}, {"type": "human"}, {"content": None}, {"content": []}]),
)
@settings(max_examples=300, deadline=None)
def test_roles_and_keys_show_what_another_tool_wrote(roles: list[str], texts: list[str], more: dict[str, Any]) -> None:
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    for row in ({"messages": messages}, {"messages": [*messages, {**messages[0], **more}] if messages else messages}):
        assert format_detection._other(row) == format_detection._written_by_another_tool(row)
