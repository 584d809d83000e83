"""Makes messages of turns: roles by their many names, weights, calls of functions and their results, tools.

Sources: FastChat, LLaMA-Factory, axolotl (`train`), ms-swift (`loss`), Hermes (`<tool_call>`).
"""

from __future__ import annotations

import json
import re
from typing import Any

from service.datasets.shapes.json_texts import parsed
from service.datasets.shapes.registry import CannotConvert, Row

_ROLES = {
    "user": ("human", "user", "prompter", "customer", "usr", "instruction"),
    "assistant": (
        "gpt", "assistant", "model", "bot", "ai", "chatgpt", "gpt4", "gpt-4", "gpt-3.5", "bing", "bard", "claude",
        "moss", "agent", "output",
    ),
    "system": ("system", "developer"),
    "call": ("function_call", "function-call", "tool_call", "tool_calls"),
    "result": ("observation", "tool", "function", "function_response", "function-response", "tool_response", "ipython"),
}  # fmt: skip
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names}
_TEXT_KEYS = ("value", "content", "text")
_PAIR_KEYS = (
    ("system", ("system",)),
    ("user", ("human", "user", "Human", "User", "input", "question", "query", "prompt", "instruction")),
    ("assistant", ("assistant", "gpt", "bot", "Assistant", "Bot", "output", "answer", "response", "completion")),
)
_WEIGHT_KEYS = {"weight": False, "loss": False, "train": False, "trainable": False, "mask": True}
"""The keys that say whether an answer is trained; True for those that say the opposite."""

_TOOL_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)
_TOOL_RESPONSE = re.compile(r"<tool_response>\s*(.*?)\s*</tool_response>", re.DOTALL)
STRUCTURE = frozenset(
    f"{place}/{key}" for key in ("from", "role", "speaker", *_WEIGHT_KEYS) for place in ("*", "chosen", "rejected")
)
MARKERS = re.compile(r"<image>|</?tool_(?:call|response)>|\b(?:name|arguments)\b")


def is_turn(turn: object) -> bool:
    """Whether a value is a turn: a role with a text, or the texts of a question and its answer by their roles."""
    if isinstance(turn, list):
        return _is_pair(turn)
    if not isinstance(turn, dict):
        return False
    if _role_key(turn) is not None:
        return any(key in turn for key in (*_TEXT_KEYS, "tool_calls"))
    return bool(_pair(turn))


def messages_of(turns: list[Any]) -> list[Row]:
    """The messages of turns. Raises `CannotConvert` with the number of the turn."""
    made = _Messages()
    for number, turn in enumerate(turns, start=1):
        try:
            made.add(turn, number, len(turns))
        except CannotConvert as error:
            raise CannotConvert(f"turn {number}: {error}") from None
    return made.messages


def tools_of(value: Any) -> list[Row]:
    """The tools of a row: a list, or the JSON of one, of tools or of functions without their envelope."""
    found = parsed(value)
    if found in (None, "", [], {}):
        return []
    items = found if isinstance(found, list) else [found]
    tools = []
    for item in map(parsed, items):
        if isinstance(item, dict) and isinstance(item.get("function"), dict):
            tools.append({"type": "function", **item})
        elif isinstance(item, dict) and isinstance(item.get("name"), str):
            tools.append({"type": "function", "function": {k: v for k, v in item.items() if k != "type"}})
        else:
            raise CannotConvert("`tools` must be a list, or the JSON of a list, of functions with a name")
    return tools


def user_text(*texts: Any) -> str:
    """Texts as the paragraphs of one; empty ones leave nothing."""
    return "\n\n".join(text for text in map(plain_text, texts) if text)


def plain_text(value: Any) -> str:
    """A value as a text without white space around it; "" for null. Raises `CannotConvert` for lists and objects."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (list, dict)):
        raise CannotConvert("a list or an object stands where a text is needed")
    return json.dumps(value)


def chat_example(messages: list[Row], *, system: Any = None, tools: Any = None) -> Row:
    """A chat example. The system prompt comes first, unless the messages begin with one."""
    text = plain_text(system)
    if text and messages and messages[0]["role"] == "system":
        if messages[0]["content"].strip() != text:
            raise CannotConvert("`system` and the first turn are two system prompts; keep one")
    elif text:
        messages = [{"role": "system", "content": text}, *messages]
    found = tools_of(tools)
    return {"messages": messages, "tools": found} if found else {"messages": messages}


def said(role: str, text: str) -> Row:
    """One message."""
    return {"role": role, "content": text}


class _Messages:
    """Collects messages, and gives each result of a function the id of its call."""

    def __init__(self) -> None:
        self.messages: list[Row] = []
        self._open: list[str] = []
        self._calls = 0

    def add(self, turn: Any, number: int, count: int) -> None:
        if isinstance(turn, str):
            self.messages.append(said("user" if number % 2 else "assistant", turn))
            return
        if _is_pair(turn):
            self.messages += [said("user", turn[0]), said("assistant", turn[1])]
            return
        if not isinstance(turn, dict):
            raise CannotConvert("it is not an object")
        key = _role_key(turn)
        if key is None:
            pair = _pair(turn)
            if not pair:
                raise CannotConvert("it has no role (`from` or `role`) with a text (`value` or `content`)")
            self.messages += [said(role, _text(text)) for role, text in pair]
            self._weigh(turn)
            return
        name = turn[key]
        role = _ROLE_OF.get(name.strip().lower()) if isinstance(name, str) else None
        if role is None:
            known = "human, gpt, system, function_call or observation"
            raise CannotConvert(f"{json.dumps(name, ensure_ascii=False)[:60]} is no known role; use {known}")
        value = next((turn[text] for text in _TEXT_KEYS if turn.get(text) is not None), None)
        match role:
            case "call":
                self._call(value)
            case "result":
                self._result(value)
            case "assistant":
                self._answer(turn, value, last=number == count)
            case _:
                self.messages.append({"role": role, "content": _content(value)})
        self._weigh(turn)

    def _answer(self, turn: Row, value: Any, *, last: bool) -> None:
        calls = turn.get("tool_calls")
        if isinstance(calls, list) and calls:
            self._append_calls(calls, _text(value or ""))
            return
        content = _content(value)
        found = _TOOL_CALL.findall(content) if isinstance(content, str) and "<tool_call>" in content else []
        blocks = [parsed(block) for block in found]
        if blocks and all(isinstance(block, dict) and isinstance(block.get("name"), str) for block in blocks):
            self._append_calls(blocks, _TOOL_CALL.sub("", content).strip())
        else:
            self.messages.append(said("assistant", content))

    def _call(self, value: Any) -> None:
        found = parsed(value)
        calls = found if isinstance(found, list) else [found]
        if not calls or not all(
            isinstance(call, dict) and isinstance(_function(call).get("name"), str) for call in calls
        ):
            raise CannotConvert('a call of a function must be JSON: {"name": …, "arguments": {…}}')
        self._append_calls(calls, "")

    def _append_calls(self, calls: list[Any], content: str) -> None:
        made = []
        self._open = []
        for call in calls:
            if not isinstance(call, dict) or not isinstance(_function(call).get("name"), str):
                raise CannotConvert('a call of a function must be JSON: {"name": …, "arguments": {…}}')
            function = _function(call)
            self._calls += 1
            id = call["id"] if isinstance(call.get("id"), str) else f"call_{self._calls}"
            arguments = function.get("arguments", function.get("parameters"))
            if not isinstance(arguments, str):
                arguments = json.dumps({} if arguments is None else arguments, ensure_ascii=False)
            made.append({"id": id, "type": "function", "function": {"name": function["name"], "arguments": arguments}})
            self._open.append(id)
        message: Row = {"role": "assistant", "tool_calls": made}
        self.messages.append({"role": "assistant", "content": content, "tool_calls": made} if content else message)

    def _result(self, value: Any) -> None:
        if not self._open:
            raise CannotConvert("it is the result of a function, and no call comes before it")
        content = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        results = _TOOL_RESPONSE.findall(content) or [content]
        items = parsed(content)
        if len(results) == 1 and len(self._open) > 1 and isinstance(items, list) and len(items) == len(self._open):
            results = [item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in items]
        if len(results) > len(self._open):
            raise CannotConvert("it has more results than there are calls before it")
        for text in results:
            self.messages.append({"role": "tool", "tool_call_id": self._open.pop(0), "content": text})

    def _weigh(self, turn: Row) -> None:
        for key, opposite in _WEIGHT_KEYS.items():
            value = turn.get(key)
            if value is None:
                continue
            if not isinstance(value, (int, float)) or value not in (0, 1):
                raise CannotConvert(f"`{key}` is {json.dumps(value)[:60]}; an answer has the weight 0 or 1")
            weight = int(value != opposite)
            message = self.messages[-1]
            if message["role"] == "assistant":
                message["weight"] = weight
            elif weight and key in ("train", "trainable", "loss"):
                raise CannotConvert(f"`{key}` asks to train words that are not the assistant's; remove it")
            return


def _is_pair(turn: Any) -> bool:
    return isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn)


def _role_key(turn: Row) -> str | None:
    return next((key for key in ("from", "role", "speaker") if key in turn), None)


def _pair(turn: Row) -> list[tuple[str, Any]]:
    found = [(role, turn[key]) for role, keys in _PAIR_KEYS for key in keys if turn.get(key) not in (None, "")]
    roles = [role for role, _ in found]
    return found if len(set(roles)) == len(roles) and set(roles) & {"user", "assistant"} else []


def _function(call: Row) -> Row:
    inner = call.get("function")
    return inner if isinstance(inner, dict) else call


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise CannotConvert("its text (`value` or `content`) is missing or is not a text")
    return value


def _content(value: Any) -> Any:
    """The content of a message: a text, or a list of parts as OpenAI has them."""
    if isinstance(value, list) and value and all(isinstance(part, dict) and "type" in part for part in value):
        return value
    return _text(value)
