"""What a call may come to, read off bodies of any kind."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.catalogue.models_file import load
from service.catalogue.tokens import reference_counter
from service.errors import InvalidRequest
from service.inference.bounds import (
    CHAT,
    MAX_CHOICES,
    MAX_TOKENS,
    TOKENS_PER_PART,
    Usage,
    answer_texts,
    input_texts,
    max_output_tokens,
    usage_of,
)

MINI = load().find("gpt-4o-mini")
LEGACY = "/completions"
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
names = st.sampled_from(
    ["messages", "prompt", "suffix", "n", "best_of", "max_tokens", "max_completion_tokens", "tools", "usage", "choices"]
)
bodies = st.dictionaries(names, anything)


class TestAnything:
    @given(bodies, st.sampled_from([CHAT, LEGACY]))
    def test_is_read_or_refused(self, body: dict[str, Any], path: str) -> None:
        texts, others = input_texts(body, path=path)
        assert all(isinstance(text, str) for text in texts)
        assert others >= 0
        try:
            assert 0 <= max_output_tokens(body, path=path, model=MINI) <= MAX_TOKENS * MAX_CHOICES
        except InvalidRequest as refused:
            assert refused.param in body

    @given(bodies)
    def test_of_answers_too(self, body: dict[str, Any]) -> None:
        usage = usage_of(body)
        assert usage is None or min(usage.input_tokens, usage.output_tokens) >= 0
        assert all(isinstance(text, str) for _, text in answer_texts(body))

    def test_of_any_depth(self) -> None:
        deep: Any = "bottom"
        for _ in range(5_000):
            deep = [deep]
        assert input_texts({"messages": deep}, path=CHAT)[0] == ["bottom"]


class TestInput:
    def test_is_never_below_what_the_cookbook_counts(self) -> None:
        messages = [{"role": "user", "content": "How long is river three?", "name": "ann"}] * 3
        texts, others = input_texts({"messages": messages}, path=CHAT)
        count = reference_counter("o200k_base").count
        cookbook = 3 + sum(3 + 1 + sum(map(count, message.values())) for message in messages)
        assert cookbook <= others + sum(map(count, texts)) <= cookbook + 6

    def test_of_parts_counts_texts_and_the_others_flat(self) -> None:
        image = {"type": "image_url", "image_url": {"url": "data:" + "x" * 100_000}}
        body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "what is it"}, image]}]}
        texts, others = input_texts(body, path=CHAT)
        assert "what is it" in texts
        assert sum(map(len, texts)) < 50
        assert others >= TOKENS_PER_PART

    def test_counts_tools(self) -> None:
        tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
        texts, _ = input_texts({"messages": [], "tools": tools}, path=CHAT)
        assert "look_up" in texts[0]

    def test_prompts_may_be_tokens(self) -> None:
        assert input_texts({"prompt": [1, 2, 3]}, path=LEGACY) == ([], 3)
        assert input_texts({"prompt": [[1, 2], [3]]}, path=LEGACY) == ([], 3)
        assert input_texts({"prompt": ["a", "b"], "suffix": "c"}, path=LEGACY) == (["a", "b", "c"], 0)


class TestOutput:
    @pytest.mark.parametrize(
        ("body", "path", "tokens"),
        [
            ({}, CHAT, 16_384),
            ({"max_tokens": None}, CHAT, 16_384),
            ({"max_tokens": 5, "max_completion_tokens": 9}, CHAT, 9),
            ({"max_tokens": 5, "n": 4}, CHAT, 20),
            ({}, LEGACY, 16),
            ({"max_tokens": 0}, LEGACY, 0),
            ({"max_tokens": 5, "n": 2, "best_of": 3, "prompt": ["a", "b"]}, LEGACY, 30),
            ({"max_tokens": 5, "prompt": [1, 2, 3]}, LEGACY, 5),
        ],
    )
    def test_is_the_longest_of_all_choices(self, body: dict[str, Any], path: str, tokens: int) -> None:
        assert max_output_tokens(body, path=path, model=MINI) == tokens


class TestUsage:
    @pytest.mark.parametrize(
        "reported", [None, 5, {}, {"prompt_tokens": -1}, {"prompt_tokens": True}, {"prompt_tokens": 10**30}]
    )
    def test_nonsense_is_none(self, reported: Any) -> None:
        assert usage_of({"usage": reported}) is None

    def test_is_read(self) -> None:
        assert usage_of({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}) == Usage(3, 4)
        assert usage_of({"usage": {"prompt_tokens": 3}}) == Usage(3, 0)
