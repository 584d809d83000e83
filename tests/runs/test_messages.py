"""The message of an upstream's answer: what is too large or too deep is cut, and counts as cut."""

from typing import Any

import pytest

from service.json_limits import VALUE_BYTES
from service.runs.messages import MAX_MESSAGE_BYTES, MAX_MESSAGE_VALUES, parse_message
from service.runs.plan import Answer, size_bytes

FULL = MAX_MESSAGE_BYTES - 100


def chat(**message: Any) -> dict[str, Any]:
    """An answer with this message, complete by its finish reason."""
    return {"choices": [{"message": {"role": "assistant", **message}, "finish_reason": "stop"}]}


def deep(levels: int) -> Any:
    """Lists in lists."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def calls(count: int) -> list[dict[str, Any]]:
    """Function calls."""
    function = {"name": "get_weather", "arguments": '{"city": "Rome"}'}
    return [{"id": f"call_{each}", "type": "function", "function": function} for each in range(count)]


class TestCut:
    def test_a_long_text(self) -> None:
        message, reason = parse_message(chat(content="a" * (MAX_MESSAGE_BYTES + 1)))
        assert (message, reason) == ({"role": "assistant", "content": "a" * (MAX_MESSAGE_BYTES // 4)}, "length")

    def test_a_long_text_of_a_completion(self) -> None:
        text = "a" * (MAX_MESSAGE_BYTES + 1)
        message, reason = parse_message({"choices": [{"text": text, "finish_reason": "stop"}]})
        assert (message["content"], reason) == ("a" * (MAX_MESSAGE_BYTES // 4), "length")

    @pytest.mark.parametrize(
        "fields",
        [
            {"tool_calls": [*calls(1), {"function": {"name": "f", "arguments": "a" * MAX_MESSAGE_BYTES}}]},
            {"tool_calls": [[]] * (MAX_MESSAGE_VALUES + 1)},
            {"tool_calls": deep(200)},
            {"refusal": deep(100_000)},
        ],
        ids=["bytes", "values", "depth", "great depth"],
    )
    def test_of_another_field_nothing_is_left(self, fields: dict[str, Any]) -> None:
        message, reason = parse_message(chat(content="It is so.", **fields))
        assert (message, reason) == ({"role": "assistant", "content": "It is so."}, "length")


class TestWhole:
    def test_the_longest_text(self) -> None:
        assert parse_message(chat(content="a," * (FULL // 2)))[1] == "stop"
        completion = {"choices": [{"text": "a" * FULL, "finish_reason": "stop"}]}
        assert parse_message(completion) == ({"role": "assistant", "content": "a" * FULL}, "stop")

    def test_a_call_of_every_tool(self) -> None:
        message, reason = parse_message(chat(content=None, tool_calls=calls(128)))
        assert (message["tool_calls"], reason) == (calls(128), "stop")


def test_the_size_of_an_answer_counts_its_values() -> None:
    text = Answer(message={"role": "assistant", "content": "a," * 1_000})
    lists = Answer(message={"role": "assistant", "content": [[]] * 1_000})
    assert 2_000 < size_bytes(text) < 3_000
    assert size_bytes(lists) > 1_000 * VALUE_BYTES
