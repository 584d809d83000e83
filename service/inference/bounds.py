"""Token bounds of an inference call, from its body, and its token usage, from the answer. Pure.

The bounds size a reservation: the tokens of every text that is sent, and the longest answer that the call allows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from service.catalogue.base_models import BaseModel
from service.errors import InvalidRequest

CHAT = "/chat/completions"

TOKENS_PER_MESSAGE = 4
"""The role and the delimiters around a message (OpenAI cookbook, "How to count tokens with tiktoken"), rounded up."""

TOKENS_PER_PART = 1_500
"""An image, or another part without text: OpenAI's count for an image of 1024 x 2048 at high detail, rounded up."""

LEGACY_MAX_TOKENS = 16
"""The default limit of an answer of `/completions` (OpenAI API reference, "max_tokens")."""

MAX_TOKENS = 10_000_000
MAX_CHOICES = 2_048
"""Far above what any model allows; up to these, sums fit into the ledger's columns."""

_NON_TEXT = frozenset({"url", "image_url", "input_audio", "data", "file_data", "file", "id", "type", "finish_reason"})
_PROMPT_FIELDS = ("tools", "functions", "response_format")


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of a call's input and output."""

    input_tokens: int
    output_tokens: int


def max_output_tokens(body: dict[str, Any], *, path: str, model: BaseModel | None) -> int:
    """The tokens of the longest answer that the call allows, over all its choices. Raises `InvalidRequest`.

    A chat without a limit may be as long as the model's longest answer (`max_output_tokens`).
    """
    minimum = 1 if path == CHAT else 0
    names = ("max_completion_tokens", "max_tokens") if path == CHAT else ("max_tokens",)
    limits = [limit for name in names if (limit := _integer(body, name, minimum, MAX_TOKENS)) is not None]
    default = (model.max_output_tokens if model else BaseModel.max_output_tokens) if path == CHAT else LEGACY_MAX_TOKENS
    per_choice = max(limits, default=default)
    choices = max(_integer(body, name, 1, MAX_CHOICES) or 1 for name in ("n", "best_of"))
    prompt = body.get("prompt")
    prompts = len(prompt) if path != CHAT and isinstance(prompt, list) and not _is_tokens(prompt) else 1
    return min(per_choice * choices * max(1, prompts), MAX_TOKENS * MAX_CHOICES)


def input_texts(body: dict[str, Any], *, path: str) -> tuple[list[str], int]:
    """The texts that the model will read, and the number of tokens of everything that is not text."""
    if path != CHAT:
        prompt = body.get("prompt")
        prompts = prompt if isinstance(prompt, list) else [prompt]
        tokens = len(prompt) if isinstance(prompt, list) and _is_tokens(prompt) else 0
        tokens += sum(len(each) for each in prompts if isinstance(each, list))
        suffix = body.get("suffix")
        return [each for each in (*prompts, suffix) if isinstance(each, str)], tokens
    messages = body.get("messages")
    messages = messages if isinstance(messages, list) else []
    texts = list(_strings(messages))
    texts += [msgspec.json.encode(body[name]).decode() for name in _PROMPT_FIELDS if body.get(name) is not None]
    tokens = TOKENS_PER_MESSAGE * (len(messages) + 1)
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list):
            tokens += TOKENS_PER_PART * sum(1 for part in content if _is_non_text(part))
    return texts, tokens


def template_tokens(body: dict[str, Any], model: BaseModel | None) -> int:
    """The tokens that an open model's chat template adds to the texts of a chat, beyond those of `input_texts`.

    Definitions of tools are counted once more, since templates write them with spaces and line breaks.
    """
    messages = body.get("messages")
    if model is None or model.overhead is None or not isinstance(messages, list):
        return 0
    tokens = model.overhead.prompt + max(model.overhead.message - TOKENS_PER_MESSAGE, 0) * len(messages)
    tools = [body[name] for name in ("tools", "functions") if body.get(name)]
    return tokens + (model.overhead.tools + len(msgspec.json.encode(tools)) if tools else 0)


def usage_of(body: dict[str, Any]) -> Usage | None:
    """The usage that an answer, or a chunk of one, reports; None for one that reports none or makes no sense."""
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return None
    input_tokens, output_tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens", 0))
    if input_tokens is None or output_tokens is None:
        return None
    return Usage(input_tokens, output_tokens)


def answer_texts(body: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Every text of an answer, or of a chunk of one, with the index of its choice."""
    choices = body.get("choices")
    for place, choice in enumerate(choices if isinstance(choices, list) else []):
        if isinstance(choice, dict):
            index = choice.get("index")
            for text in _strings([choice.get(name) for name in ("message", "delta", "text")]):
                yield index if isinstance(index, int) else place, text


def _count(tokens: object) -> int | None:
    if isinstance(tokens, int) and not isinstance(tokens, bool) and 0 <= tokens <= MAX_TOKENS * MAX_CHOICES:
        return tokens
    return None


def _integer(body: dict[str, Any], name: str, minimum: int, maximum: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidRequest(f"'{name}' must be a whole number.", param=name, code="invalid_type")
    if not minimum <= value <= maximum:
        raise InvalidRequest(f"'{name}' must be from {minimum} to {maximum}.", param=name, code="invalid_value")
    return value


def _strings(value: Any) -> Iterator[str]:
    """The strings inside a value in order, without addresses, data and type names. Iterative: any depth is safe."""
    stack = [value]
    while stack:
        match stack.pop():
            case str() as text:
                yield text
            case list() as items:
                stack.extend(reversed(items))
            case dict() as items:
                stack.extend(inner for name, inner in reversed(items.items()) if name not in _NON_TEXT)
            case _:
                continue


def _is_non_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") not in ("text", "refusal", None)


def _is_tokens(prompt: list[Any]) -> bool:
    return bool(prompt) and all(isinstance(each, int) for each in prompt)
