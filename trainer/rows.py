"""The rows of training files and the prompts of inference calls, as an engine reads them.

Messages and tools stay as the caller wrote them, in OpenAI's form, because a language model's own chat template
decides how they are rendered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Message = Mapping[str, Any]
"""A message in OpenAI's form: `role`, `content`, `tool_calls`, `tool_call_id`, `name`; `weight` in training data."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages, and the tools that the model may call in them (the older `functions` become `tools`)."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ChatRow:
    """A conversation to learn from: every assistant message whose `weight` is not 0 is an answer to learn."""

    conversation: Conversation


@dataclass(frozen=True, slots=True)
class CompletionRow:
    """A text and its continuation, which is what is learned."""

    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """A conversation with a preferred and a rejected answer (each one or more messages)."""

    conversation: Conversation
    preferred: tuple[Message, ...]
    rejected: tuple[Message, ...]


Row = ChatRow | CompletionRow | PreferenceRow


def is_trained(message: Message) -> bool:
    """Whether a message of a `ChatRow` is an answer to learn: an assistant's, with content, its `weight` not 0."""
    return message["role"] == "assistant" and message.get("weight", 1) != 0 and has_content(message)


def refusal_of(message: Message) -> str:
    """A message's `refusal`, which stands for its content where that is empty; "" if it has none."""
    refusal = message.get("refusal")
    return refusal if isinstance(refusal, str) else ""


def has_content(message: Message) -> bool:
    """Whether a message has text, parts, a refusal or calls; an empty string is no content."""
    if message.get("tool_calls") or message.get("function_call") or refusal_of(message):
        return True
    content = message.get("content")
    if isinstance(content, list):
        return any(part.get("text", part.get("refusal")) != "" for part in content)
    return bool(content)
