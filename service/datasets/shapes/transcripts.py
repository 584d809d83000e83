"""Conversations in one text, with the tags of a chat template between the turns.

A text is a transcript only if every turn is found exactly: it begins with a tag, or with a system prompt before the
first tag, and no tag of any template is left in a turn. Where the tags are words that occur in other texts too,
user and assistant must alternate. Sources: the chat templates in the tokenizers of Qwen (ChatML), Llama 2, 3 and 4,
Mistral, Zephyr, Phi and Gemma; FastChat's template of Vicuna; the prompts of Stanford Alpaca; the transcripts of
Guanaco and of Anthropic's hh-rlhf.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from service.datasets.shapes.registry import Row

_SYSTEM, _USER, _ASSISTANT = "system", "user", "assistant"
_ROLES = {
    "system": _SYSTEM, "user": _USER, "human": _USER, "instruction": _USER, "question": _USER, "input": _USER,
    "prompt": _USER, "assistant": _ASSISTANT, "model": _ASSISTANT, "response": _ASSISTANT, "answer": _ASSISTANT,
    "output": _ASSISTANT, "gpt": _ASSISTANT, "bot": _ASSISTANT, "ai": _ASSISTANT, "q": _USER, "a": _ASSISTANT,
}  # fmt: skip


class _Template(NamedTuple):
    """A template: what begins a turn (`role` is a group of it). `words` says that the tags are
    words; with them, what stands before the first turn may be the system prompt (`preamble`)."""

    begins: re.Pattern[str]
    words: bool = False
    preamble: bool = False


_TEMPLATES = (
    _Template(re.compile(r"<\|im_start\|>(?P<role>\w+)(?:\r?\n|\Z)")),
    _Template(re.compile(r"<\|start_header_id\|>(?P<role>\w+)<\|end_header_id\|>")),
    _Template(re.compile(r"<\|header_start\|>(?P<role>\w+)<\|header_end\|>")),
    _Template(re.compile(r"<start_of_turn>(?P<role>\w+)(?:\r?\n|\Z)")),
    _Template(re.compile(r"<\|(?P<role>system|user|assistant)\|>")),
    _Template(re.compile(r"(?:\A\s*|\n\n)(?P<role>Human|Assistant):(?:[ \n]|\Z)")),
    *(
        _Template(re.compile(rf"(?:\A\s*|\n\s*)(?P<role>{names}):(?:\s|\Z)"), words=True)
        for names in ("System|Human|Assistant|AI", "System|User|Assistant|AI|Bot", "Question|Answer", "Q|A")
    ),
    _Template(
        re.compile(
            r"###[ \t]*(?P<role>System|Instruction|Input|Response|Human|User|Assistant|Question|Answer):[ \t]*\r?\n?"
        ),
        words=True,
        preamble=True,
    ),
    _Template(
        re.compile(r"(?:\A|(?<=\s)|(?<=</s>))(?P<role>USER|ASSISTANT|SYSTEM):(?:\s|\Z)"), words=True, preamble=True
    ),
)
_ENDS = (
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|eot|>", "<end_of_turn>", "<|end|>", "</s>",
    "<|endoftext|>", "<eos>",
)  # fmt: skip
_BEGINNING = re.compile(r"\s*(?:<s>|<bos>|<\|begin_of_text\|>)\s*")
_TAG = re.compile(
    r"<\|[\w ]{1,40}\|>|</?s>|<(?:start|end)_of_turn>|<[be]os>|\[/?INST\]|<</?SYS>>|(?:\A|\n)(?:USER|ASSISTANT): |"
    r"###\s*(?:Human|Assistant|Instruction|Response):"
)
_ALPACA_PREAMBLE = re.compile(
    r"\s*Below is an instruction that describes a task(?:, paired with an input that provides further context)?\. "
    r"Write a response that appropriately completes the request\.\s*"
)
MARKERS = re.compile(
    rf"{_ALPACA_PREAMBLE.pattern}|<\|[\w ]{{1,40}}\|>|<(?:start|end)_of_turn>|</?s>|<[be]os>|\[/?INST\]|<</?SYS>>|"
    r"\b(?:system|user|assistant|model|USER|ASSISTANT|SYSTEM|Human|Assistant|System|User|Instruction|Input|Response|"
    r"Question|Answer|AI|Bot|Q|A)\b"
)
"""What stands between the parts of a transcript."""


def messages_in(text: str) -> list[Row] | None:
    """The messages of a transcript; None for a text that is none. The last message may be the user's."""
    begun = _BEGINNING.match(text)
    body = text[begun.end() :] if begun else text
    if "[INST]" in body:
        return _exact(_llama_2(body), alternate=True)
    for template in _TEMPLATES:
        found = _exact(_parsed(template, body), alternate=template.words)
        if found is not None:
            return found
    return None


def has_tags(text: str) -> bool:
    """Whether a text has tags of a chat template."""
    return _TAG.search(text) is not None


def without_end(text: str) -> str:
    """A text without the tags that end a turn."""
    text = text.strip()
    while end := next((end for end in _ENDS if text.endswith(end)), ""):
        text = text.removesuffix(end).rstrip()
    return text


def _parsed(template: _Template, text: str) -> list[Row] | None:
    heads = list(template.begins.finditer(text))
    if len(heads) < 2:
        return None
    messages: list[Row] = []
    before = text[: heads[0].start()].strip()
    if before and not _ALPACA_PREAMBLE.fullmatch(before):
        if not template.preamble:
            return None
        messages.append({"role": _SYSTEM, "content": before})
    ends = [*(head.start() for head in heads[1:]), len(text)]
    for head, end in zip(heads, ends, strict=True):
        name = head["role"]
        role = _ROLES.get(name.lower())
        if role is None:
            return None
        content = without_end(text[head.end() : end])
        if name == "Input" and messages and messages[-1]["role"] == _USER:
            messages[-1]["content"] = f"{messages[-1]['content']}\n\n{content}".strip()
        else:
            messages.append({"role": role, "content": content})
    return messages


def _llama_2(text: str) -> list[Row] | None:
    before, *rounds = text.split("[INST]")
    if before.strip():
        return None
    messages: list[Row] = []
    for each in rounds:
        question, tag, answer = each.partition("[/INST]")
        if not tag:
            return None
        if question.lstrip().startswith("<<SYS>>"):
            system, _, question = question.lstrip().removeprefix("<<SYS>>").partition("<</SYS>>")
            messages.append({"role": _SYSTEM, "content": system.strip()})
        messages.append({"role": _USER, "content": question.strip()})
        messages.append({"role": _ASSISTANT, "content": without_end(answer.rstrip().removesuffix("<s>"))})
    return messages


def _exact(messages: list[Row] | None, *, alternate: bool) -> list[Row] | None:
    """The messages if they are all that is in the text and no tag is left in one; else None.

    An empty answer at the end is what a prompt for generation ends with; it is no message, and neither is an empty
    system prompt.
    """
    if messages and messages[-1]["role"] == _ASSISTANT and not messages[-1]["content"]:
        messages = messages[:-1]
    if messages and messages[0] == {"role": _SYSTEM, "content": ""}:
        messages = messages[1:]
    if not messages or not all(message["content"] and not has_tags(message["content"]) for message in messages):
        return None
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[0] == _SYSTEM else roles
    if _SYSTEM in turns or _USER not in turns:
        return None
    if alternate and any(role != (_USER, _ASSISTANT)[place % 2] for place, role in enumerate(turns)):
        return None
    return messages
