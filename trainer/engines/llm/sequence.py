"""One answer in progress: the tokens so far, their key-value cache, and the next token."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, PretrainedConfig, PreTrainedTokenizerBase

from ..port import Piece, Sampling, TokenLogprob
from .token_choice import TokenChoice, likeliest
from .token_text import TokenText, token_bytes

PREFILL_TOKENS = 256
"""Prompt tokens that are read in one step, which bounds the memory of a step and how long others wait for it."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The tokens that a model reads before it answers. `special`: special tokens belong to the answer's text."""

    tokens: list[int]
    special: bool = False


class Sequence:
    """Takes an answer forward by one token a call. Its steps do not depend on what else the model does in between."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompt: Prompt,
        sampling: Sampling,
        *,
        limit: int,
        ends: frozenset[int],
    ) -> None:
        self._tokenizer, self._sampling, self._ends = tokenizer, sampling, ends
        self._unread = list(prompt.tokens)
        self._remaining = limit
        self._cache: Any = None
        self._text = TokenText(tokenizer, prompt.tokens, special=prompt.special)
        self._choice = TokenChoice(sampling)

    def advance(self, model: torch.nn.Module) -> Piece:
        """Read a part of the prompt, or generate a token. The last piece has `finish`."""
        with torch.inference_mode():
            return self._advance(model)

    def _advance(self, model: torch.nn.Module) -> Piece:
        part, self._unread = self._unread[:PREFILL_TOKENS], self._unread[PREFILL_TOKENS:]
        logits = self._forward(model, part)
        if self._unread:
            return Piece(b"")
        token = self._choice.next(logits)
        if token in self._ends:
            return Piece(b"", finish="stop")
        self._remaining -= 1
        self._unread = [token]
        text = self._text.add(token).encode("utf-8", "replace")
        return Piece(text, self._logprobs(logits, token), None if self._remaining else "length", generated=1)

    def forget(self) -> None:
        """Free the cache; the answer has ended."""
        self._cache = None

    def _forward(self, model: Any, tokens: list[int]) -> torch.Tensor:
        if self._cache is None:
            self._cache = DynamicCache(config=model.config)
        read = torch.tensor([tokens], device=model.device)
        output = model(input_ids=read, use_cache=True, logits_to_keep=1, **{_cache_argument(model): self._cache})
        logits: torch.Tensor = output.logits[0, -1]
        return logits

    def _logprobs(self, logits: torch.Tensor, token: int) -> tuple[TokenLogprob, ...]:
        if self._sampling.top_logprobs is None:
            return ()
        logprob, others = likeliest(logits, token, self._sampling.top_logprobs)
        top = tuple((token_bytes(self._tokenizer, other), value) for other, value in others)
        return (TokenLogprob(token_bytes(self._tokenizer, token), logprob, top),)


def cache_bytes(config: PretrainedConfig, tokens: int, *, value_bytes: int) -> int:
    """The memory of the keys and values of a sequence, as a model with full attention in every layer has them."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return 2 * int(text.num_hidden_layers) * int(heads) * int(width) * value_bytes * tokens


def _cache_argument(model: Any) -> str:
    """`past_key_values`, which transformers 5.24 renames to `cache`."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "cache" if "cache" in inspect.signature(inner.forward).parameters else "past_key_values"
