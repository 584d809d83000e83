"""Calls of tools in a model's answer, by the form in which its chat template writes them.

Two forms are read: what transformers' response templates describe (a tokenizer's own, or TRL's for the chat templates
that it knows), and the general one of Hermes, `<tool_call>{"name": …, "arguments": …}</tool_call>`, with one call or a
list of them in it. Anything else stays text.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from ...ids import new_id

OPENER = "<tool_call>"
_HERMES = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|$)", re.DOTALL)


def know_calls(tokenizer: PreTrainedTokenizerBase) -> None:
    """Give a tokenizer the response template that TRL has for its chat template, if it has one."""
    if getattr(tokenizer, "response_template", None) is None:
        from trl.chat_template_utils import add_response_schema

        try:
            add_response_schema(tokenizer)
        except ValueError:
            return


def split_calls(
    tokenizer: PreTrainedTokenizerBase, text: str, *, prompt: str, end: str, tools: Sequence[Mapping[str, Any]]
) -> tuple[str | None, list[dict[str, object]]]:
    """An answer's content and OpenAI's `tool_calls`. A call whose JSON is broken leaves the whole answer as content.

    `prompt` is what the model read, `end` the token that ends a turn.
    """
    content, calls = _by_template(tokenizer, text + end, prompt, tools) or _hermes(text)
    written = [_call(call) for call in calls]
    if not calls or None in written:
        return _without_special(tokenizer, text), []
    return content.strip() or None, [call for call in written if call is not None]


def calls_begin(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """Where calls may begin in the text so far: what is before is content. The length of the text if nowhere."""
    template = getattr(tokenizer, "response_template", None)
    pattern = template["fields"].get("tool_calls", {}).get("open_pattern", OPENER) if template else OPENER
    if not str(pattern).startswith(OPENER):
        return 0
    if (found := text.find(OPENER)) >= 0:
        return found
    return next((len(text) - n for n in range(len(OPENER) - 1, 0, -1) if text.endswith(OPENER[:n])), len(text))


def _by_template(
    tokenizer: PreTrainedTokenizerBase, text: str, prompt: str, tools: Sequence[Mapping[str, Any]]
) -> tuple[str, list[Any]] | None:
    if getattr(tokenizer, "response_template", None) is None:
        return None
    try:
        parsed = tokenizer.parse_response(text, prefix=prompt, tools=list(tools) or None)
    except (ValueError, TypeError, KeyError):
        return None
    calls = parsed.get("tool_calls") or []
    return (str(parsed.get("content") or ""), list(calls)) if calls else None


def _hermes(text: str) -> tuple[str, list[Any]]:
    calls: list[Any] = []
    for written in _HERMES.findall(text):
        try:
            value = json.loads(written)
        except (ValueError, RecursionError):
            return text, []
        calls += value if isinstance(value, list) else [value]
    return _HERMES.sub("", text), calls


def _call(given: Any) -> dict[str, object] | None:
    function = given.get("function", given) if isinstance(given, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return None
    arguments = function.get("arguments", function.get("parameters")) or {}
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {"id": new_id("call_"), "type": "function", "function": {"name": function["name"], "arguments": written}}


def _without_special(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    for token in tokenizer.all_special_tokens:
        text = text.replace(token, "")
    return text
