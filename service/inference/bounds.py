"""What a call of inference may come to, read off its body, and what it came to, read off the answer. Pure.

The bounds are for a reservation: the tokens of every text that is sent, and the longest answer that is allowed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from service.catalogue.base_models import BaseModel
from service.errors import InvalidRequest

CHAT = "/chat/completions"

TOKENS_PER_MESSAGE = 4
"""The roles and marks around a message (OpenAI cookbook, "How to count tokens with tiktoken"), rounded up."""

TOKENS_PER_PART = 1_500
"""An image, or whatever else is no text: OpenAI's price of an image of 1024 x 2048 at high detail, rounded up."""

LEGACY_MAX_TOKENS = 16
"""What `/completions` answers at most when nobody says (OpenAI API reference, "max_tokens")."""

MOST_TOKENS = 10_000_000
MOST_CHOICES = 2_048
"""Far above what any model gives; below, sums stay within what the ledger's columns hold."""

_NO_TEXT = frozenset({"url", "image_url", "input_audio", "data", "file_data", "file", "id", "type", "finish_reason"})
_BESIDE_MESSAGES = ("tools", "functions", "response_format")


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that a call read and wrote."""

    input_tokens: int
    output_tokens: int


def most_output_tokens(body: dict[str, Any], *, path: str, model: BaseModel | None) -> int:
    """The longest answer that the call allows, of all its choices together. Raises `InvalidRequest`.

    Without a limit of its own a chat may be as long as the model's answers are (`max_output_tokens`).
    """
    least = 1 if path == CHAT else 0
    names = ("max_completion_tokens", "max_tokens") if path == CHAT else ("max_tokens",)
    limits = [limit for name in names if (limit := _whole(body, name, least, MOST_TOKENS)) is not None]
    default = (model.max_output_tokens if model else BaseModel.max_output_tokens) if path == CHAT else LEGACY_MAX_TOKENS
    each = max(limits, default=default)
    choices = max(_whole(body, name, 1, MOST_CHOICES) or 1 for name in ("n", "best_of"))
    prompt = body.get("prompt")
    prompts = len(prompt) if path != CHAT and isinstance(prompt, list) and not _is_tokens(prompt) else 1
    return min(each * choices * max(1, prompts), MOST_TOKENS * MOST_CHOICES)


def input_texts(body: dict[str, Any], *, path: str) -> tuple[list[str], int]:
    """The texts that the model will read, and the tokens of all that is no text."""
    if path != CHAT:
        prompt = body.get("prompt")
        whole = prompt if isinstance(prompt, list) else [prompt]
        tokens = len(prompt) if isinstance(prompt, list) and _is_tokens(prompt) else 0
        tokens += sum(len(each) for each in whole if isinstance(each, list))
        suffix = body.get("suffix")
        return [each for each in (*whole, suffix) if isinstance(each, str)], tokens
    messages = body.get("messages")
    listed = messages if isinstance(messages, list) else []
    texts = list(_strings(listed))
    texts += [msgspec.json.encode(body[name]).decode() for name in _BESIDE_MESSAGES if body.get(name) is not None]
    tokens = TOKENS_PER_MESSAGE * (len(listed) + 1)
    for message in listed:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            tokens += TOKENS_PER_PART * sum(1 for part in content if _is_no_text(part))
    return texts, tokens


def usage_of(body: dict[str, Any]) -> Usage | None:
    """The usage that an answer or a chunk of it tells, if it is one."""
    told = body.get("usage")
    if not isinstance(told, dict):
        return None
    read, written = told.get("prompt_tokens"), told.get("completion_tokens", 0)
    for tokens in (read, written):
        if not isinstance(tokens, int) or isinstance(tokens, bool) or not 0 <= tokens <= MOST_TOKENS * MOST_CHOICES:
            return None
    return Usage(read, written)  # type: ignore[arg-type]  # both were checked


def answer_texts(body: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Every text that an answer or a chunk of it says, with the choice that says it."""
    choices = body.get("choices")
    for place, choice in enumerate(choices if isinstance(choices, list) else []):
        if isinstance(choice, dict):
            index = choice.get("index")
            said = [choice.get(name) for name in ("message", "delta", "text")]
            for text in _strings(said):
                yield index if isinstance(index, int) else place, text


def _whole(body: dict[str, Any], name: str, least: int, most: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidRequest(f"'{name}' must be a whole number.", param=name, code="invalid_type")
    if not least <= value <= most:
        raise InvalidRequest(f"'{name}' must be from {least} to {most}.", param=name, code="invalid_value")
    return value


def _strings(value: Any) -> Iterator[str]:
    """The strings inside, in order, but for addresses, data and names of kinds; without recursion, for any depth."""
    stack = [value]
    while stack:
        match stack.pop():
            case str() as text:
                yield text
            case list() as items:
                stack.extend(reversed(items))
            case dict() as items:
                stack.extend(inner for name, inner in reversed(items.items()) if name not in _NO_TEXT)
            case _:
                continue


def _is_no_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") not in ("text", "refusal", None)


def _is_tokens(prompt: list[Any]) -> bool:
    return bool(prompt) and all(isinstance(each, int) for each in prompt)
