"""Calls of tools in answers, by the forms that are read."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from trl.chat_template_utils import llama3_1_chat_template, qwen3_chat_template

from trainer.engines.llm.tool_calls import calls_begin, know_calls, split_calls

TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "to": "é"}}\n</tool_call>'


@pytest.fixture
def tokenizer(tiny_tools: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_tools, local_files_only=True)


def _calls(tokenizer: Any, text: str, *, end: str = "<|im_end|>") -> tuple[str | None, list[tuple[str, Any]]]:
    know_calls(tokenizer)
    question = [{"role": "user", "content": "Add."}]
    prompt = tokenizer.apply_chat_template(question, tools=TOOLS, add_generation_prompt=True, tokenize=False)
    content, calls = split_calls(tokenizer, text, prompt=prompt, end=end, tools=TOOLS)
    assert all(str(call["id"]).startswith("call_") and call["type"] == "function" for call in calls)
    functions: list[Any] = [call["function"] for call in calls]
    return content, [(function["name"], json.loads(function["arguments"])) for function in functions]


@pytest.mark.parametrize(
    ("text", "content", "calls"),
    [
        (CALL, None, [("add", {"a": 1, "to": "é"})]),
        (f"Let me see. {CALL}{CALL}", "Let me see.", [("add", {"a": 1, "to": "é"})] * 2),
        ('<tool_call>[{"name": "add", "arguments": {"a": 2}}]</tool_call>', None, [("add", {"a": 2})]),
        ('<tool_call>{"name": "add", "parameters": {}}', None, [("add", {})]),
        ('<tool_call>{"name": "add"', '<tool_call>{"name": "add"', []),
        ("<tool_call>{}</tool_call>", "<tool_call>{}</tool_call>", []),
        ("No call.", "No call.", []),
        ('{"name": "add", "arguments": {}}', '{"name": "add", "arguments": {}}', []),
    ],
)
def test_general_form(tokenizer: Any, text: str, content: str | None, calls: list[Any]) -> None:
    assert _calls(tokenizer, text) == (content, calls)


def test_form_of_a_known_family(tokenizer: Any) -> None:
    tokenizer.chat_template = llama3_1_chat_template
    text = '{"name": "add", "parameters": {"a": 1}}'
    assert _calls(tokenizer, text, end="<|eot_id|>") == (None, [("add", {"a": 1})])
    assert calls_begin(tokenizer, "Hello") == 0, "such calls have no opening that could be looked for"


def test_broken_call_of_a_known_family_stays_text(tokenizer: Any) -> None:
    tokenizer.chat_template = qwen3_chat_template
    assert _calls(tokenizer, CALL)[1] == [("add", {"a": 1, "to": "é"})]
    assert _calls(tokenizer, "<tool_call>{no json}</tool_call>")[1] == []


@pytest.mark.parametrize(
    ("text", "begin"), [("Hi", 2), ("Hi <", 3), ("Hi <tool_c", 3), ("Hi <tool_call>{", 3), ("a < b", 5), ("<toot", 5)]
)
def test_text_before_a_call_is_streamed(tokenizer: Any, text: str, begin: int) -> None:
    assert calls_begin(tokenizer, text) == begin
