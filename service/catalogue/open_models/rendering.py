"""Renders conversations by a chat template, and refuses what the template would leave out without a word.

What a template has forms for is found by rendering an example of each, as the trainer finds it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from service.catalogue.open_models.chat_templates import ChatTemplate, NotRendered

_SENTINEL = "zq7sentinel"
_CALL_ID = "call00001"
_QUESTION: Mapping[str, Any] = {"role": "user", "content": "a"}


class Rendering:
    """A chat template with what it has forms for. `has_tools`: it renders tool definitions."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self.has_tools = self._renders_tools()
        self._call_form = self._form_of_calls()
        self._has_results = self._renders_results()

    def text(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = (), *, prompt: bool = False
    ) -> str:
        """The text of normalised messages and tools; a `prompt` ends with the beginning of the model's answer.

        Raises `NotRendered`.
        """
        left_out = None
        if tools and not self.has_tools:
            left_out = "tool definitions"
        elif self._call_form is None and any("tool_calls" in message for message in messages):
            left_out = "tool calls"
        elif not self._has_results and any(message["role"] == "tool" for message in messages):
            left_out = "the results of tools"
        if left_out is not None:
            raise NotRendered(f"it leaves {left_out} out")
        if self._call_form == "text":
            messages = [_with_text_arguments(message) for message in messages]
        return self._template.render(messages, tools, add_generation_prompt=prompt)

    def _renders_tools(self) -> bool:
        tool = {"type": "function", "function": {"name": _SENTINEL, "description": "", "parameters": {}}}
        return _SENTINEL in self._attempt([_QUESTION], [tool])

    def _form_of_calls(self) -> Literal["object", "text"] | None:
        """How the template wants a call's arguments: it writes them as JSON, or adds them to a text as they are."""
        forms: tuple[tuple[Literal["object", "text"], object], ...] = (
            ("object", {_SENTINEL: "b"}),
            ("text", json.dumps({_SENTINEL: "b"})),
        )
        for form, arguments in forms:
            text = self._attempt([_QUESTION, _answer_with_call(arguments)])
            if _SENTINEL in text and f"'{_SENTINEL}'" not in text:
                return form
        return None

    def _renders_results(self) -> bool:
        call = _answer_with_call({"a": "b"} if self._call_form == "object" else "{}")
        result = {"role": "tool", "tool_call_id": _CALL_ID, "name": "a", "content": _SENTINEL}
        return _SENTINEL in self._attempt([_QUESTION, call, result])

    def _attempt(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> str:
        try:
            return self._template.render(messages, tools)
        except NotRendered:
            return ""


def _answer_with_call(arguments: object) -> dict[str, Any]:
    call = {"id": _CALL_ID, "type": "function", "function": {"name": "a", "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def _with_text_arguments(message: Mapping[str, Any]) -> Mapping[str, Any]:
    if "tool_calls" not in message:
        return message
    calls = [{**call, "function": _with_text(call["function"])} for call in message["tool_calls"]]
    return {**message, "tool_calls": calls}


def _with_text(function: Mapping[str, Any]) -> dict[str, Any]:
    arguments = function["arguments"]
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {**function, "arguments": text}
