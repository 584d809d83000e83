"""Renders conversations by a model's own chat template, for training and for inference alike."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from ...rows import Conversation
from .messages import NotRendered, template_messages

_SENTINEL = "zq7sentinel"
_CALL_ID = "call00001"
_QUESTION = {"role": "user", "content": "a"}


class Renderer:
    """A tokenizer with its chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._has_tools = self._renders_tools()
        self._call_form = self._form_of_calls()
        self._has_results = self._renders_results()
        added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
        self._ends = tuple(token for token in added | set(tokenizer.all_special_tokens) if token.strip())

    def text(self, conversation: Conversation, count: int | None = None, *, prompt: bool) -> str:
        """The text of the first `count` messages; a `prompt` ends with the beginning of the model's answer.

        Raises NotRendered for what the template refuses, or would leave out without a word.
        """
        messages = conversation.messages if count is None else conversation.messages[:count]
        given = template_messages(messages)
        self._check_tools(conversation.tools, given)
        if self._call_form == "text":
            _with_text_arguments(given)
        return self._apply(given, conversation.tools, prompt=prompt)

    def turn_end(self, text: str) -> int:
        """Where the last turn of a text ends: behind its end-of-turn token, before the line break that may follow."""
        stripped = text.rstrip()
        return len(stripped) if stripped.endswith(self._ends) else len(text)

    def _check_tools(self, tools: Sequence[Mapping[str, Any]], messages: Sequence[Mapping[str, Any]]) -> None:
        left_out = None
        if tools and not self._has_tools:
            left_out = "tool definitions"
        elif self._call_form is None and any("tool_calls" in message for message in messages):
            left_out = "tool calls"
        elif not self._has_results and any(message["role"] == "tool" for message in messages):
            left_out = "the results of tools"
        if left_out is not None:
            raise NotRendered(
                f"the model's chat template leaves {left_out} out; use a model whose template has a form for them, or "
                "remove them"
            )

    def _apply(self, messages: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]], *, prompt: bool) -> str:
        try:
            text = self.tokenizer.apply_chat_template(
                messages, tools=[dict(tool) for tool in tools] or None, add_generation_prompt=prompt, tokenize=False
            )
        except TemplateError as error:
            raise NotRendered(f"the model's chat template refuses it: {error}") from None
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
            raise NotRendered(f"the model's chat template cannot render it: {error}") from None
        assert isinstance(text, str)
        return text.encode("utf-8", "replace").decode()  # a tokenizer refuses lone surrogates

    def _renders_tools(self) -> bool:
        tool = {"type": "function", "function": {"name": _SENTINEL, "description": "", "parameters": {}}}
        return _SENTINEL in self._attempt([_QUESTION], [tool])

    def _form_of_calls(self) -> Literal["object", "text"] | None:
        """How the template wants a call's arguments: written as JSON, a few add them to a text as they are."""
        forms: tuple[tuple[Literal["object", "text"], object], ...] = (
            ("object", {_SENTINEL: "b"}),
            ("text", json.dumps({_SENTINEL: "b"})),
        )
        for form, arguments in forms:
            text = self._attempt([_QUESTION, _answer_with_call(arguments)], [])
            if _SENTINEL in text and f"'{_SENTINEL}'" not in text:
                return form
        return None

    def _renders_results(self) -> bool:
        call = _answer_with_call({"a": "b"} if self._call_form == "object" else "{}")
        result = {"role": "tool", "tool_call_id": _CALL_ID, "name": "a", "content": _SENTINEL}
        return _SENTINEL in self._attempt([_QUESTION, call, result], [])

    def _attempt(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
        try:
            return self._apply(messages, tools, prompt=False)
        except NotRendered:
            return ""


def _answer_with_call(arguments: object) -> dict[str, Any]:
    call = {"id": _CALL_ID, "type": "function", "function": {"name": "a", "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def _with_text_arguments(messages: list[dict[str, Any]]) -> None:
    for message in messages:
        for call in message.get("tool_calls", ()):
            function = call["function"]
            if not isinstance(function["arguments"], str):
                function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
