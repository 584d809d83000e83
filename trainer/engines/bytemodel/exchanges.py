"""What the byte model reads of a row: contexts of plain texts and the answers to learn, and their tokens."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ...rows import ChatRow, CompletionRow, Conversation, Message, Row, is_trained, refusal_of
from .tokens import count_tokens

_TOKENS_PER_MESSAGE = 3
_TOKENS_PER_CONVERSATION = 3


@dataclass(frozen=True, slots=True)
class Text:
    """One message as the model reads it; `text` is its whole content, tool calls included as JSON."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A context and the answer to learn; `rejected` is the answer to unlearn (preference data)."""

    context: tuple[Text, ...]
    answer: str
    rejected: str | None = None


def texts_of(prompt: Conversation | str) -> tuple[Text, ...]:
    """A prompt as the model reads it; it does not read the definitions of tools."""
    return (Text("user", prompt),) if isinstance(prompt, str) else _texts(prompt.messages)


def exchanges_of(row: Row) -> tuple[Exchange, ...]:
    """The answers to learn: one for each trained assistant message, with what came before it."""
    match row:
        case ChatRow(conversation):
            texts = _texts(conversation.messages)
            return tuple(
                Exchange(texts[:index], texts[index].text)
                for index, message in enumerate(conversation.messages)
                if is_trained(message)
            )
        case CompletionRow(prompt, completion):
            return (Exchange(texts_of(prompt), completion),)
        case _:
            return (Exchange(_texts(row.conversation.messages), _answer(row.preferred), _answer(row.rejected)),)


def count_row(row: Row) -> int:
    """A row's tokens by the rule of OpenAI's cookbook, both answers of a preference row included."""
    match row:
        case ChatRow(conversation):
            return count_prompt(conversation)
        case CompletionRow(prompt, completion):
            return count_tokens(prompt) + count_tokens(completion)
        case _:
            both = (*row.conversation.messages, *row.preferred, *row.rejected)
            return count_prompt(Conversation(both))


def count_prompt(prompt: Conversation | str) -> int:
    """The tokens of a conversation by the rule of OpenAI's cookbook, or of a text."""
    if isinstance(prompt, str):
        return count_tokens(prompt)
    texts = _texts(prompt.messages)
    each = (_TOKENS_PER_MESSAGE + count_tokens(text.role) + count_tokens(text.text) for text in texts)
    return sum(each) + _TOKENS_PER_CONVERSATION


def _answer(messages: Sequence[Message]) -> str:
    return "\n".join(text.text for text in _texts(messages) if text.role == "assistant")


def _texts(messages: Iterable[Message]) -> tuple[Text, ...]:
    return tuple(Text(message["role"], _content(message)) for message in messages)


def _content(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(_part(part) for part in content)
    if content:
        return str(content)
    if refusal := refusal_of(message):
        return refusal
    calls = message.get("tool_calls") or message.get("function_call")
    return msgspec.json.encode(calls).decode() if calls else ""


def _part(part: Mapping[str, Any]) -> str:
    text = part.get("text", part.get("refusal"))
    return text if isinstance(text, str) else f"[{part['type']}]"
