"""Answers of base and tuned models: several adapters on one base in memory, one thread that computes."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerBase

from ...rows import Conversation
from ..port import Piece, Refused, Sampling
from .conversion import layout
from .devices import weights_dtype
from .loading import load_tokenizer
from .messages import NotRendered
from .models_folder import BaseFolder
from .rendering import Renderer
from .sequence import Prompt, Sequence, cache_bytes
from .tool_calls import calls_begin, know_calls, split_calls
from .weights_memory import Source, WeightsMemory
from .worker import Worker

DEFAULT_TEMPERATURE = 1.0
"""OpenAI's."""


class Serving:
    """The models of one process; safe to call from any thread. Weights are loaded by the first request for them."""

    def __init__(self, cache: Path, *, memory_bytes: int) -> None:
        self._cache = cache
        self._memory = WeightsMemory(memory_bytes)
        self._worker = Worker(self._memory)
        self._readers: dict[str, _Reader] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def load(self, base: BaseFolder, weights: Path | None) -> "LlmModel":
        """A base model, or the tuned one in `weights`: an adapter's folder, or one of full weights."""
        return LlmModel(self, Source(base, weights, self._cache), self._worker)

    def close(self) -> None:
        """End all answers."""
        self._worker.close()

    def reader(self, base: BaseFolder) -> "_Reader":
        """The tokenizer of a base model with what belongs to it, loaded once."""
        with self._locks[base.name]:
            if base.name not in self._readers:
                self._readers[base.name] = _Reader(base, self._cache)
            return self._readers[base.name]


class LlmModel:
    """See `trainer.engines.port.Model`."""

    default_temperature = DEFAULT_TEMPERATURE

    def __init__(self, serving: Serving, source: Source, worker: Worker) -> None:
        self._serving, self._source, self._worker = serving, source, worker

    def generate(self, prompt: Conversation | str, sampling: Sampling) -> Iterator[Piece]:
        reader = self._serving.reader(self._source.base)
        read = reader.read(prompt)
        room = reader.context_tokens - len(read.tokens)
        if room < 1:
            raise Refused(
                "prompt" if isinstance(prompt, str) else "messages",
                f"This model's maximum context length is {reader.context_tokens} tokens. However, your prompt has"
                f" {len(read.tokens)} tokens: shorten it.",
                code="context_length_exceeded",
            )
        limit = min(room, sampling.max_tokens or room)
        sequence = Sequence(reader.tokenizer, read, sampling, limit=limit, ends=reader.ends)
        return self._worker.submit(self._source, sequence, cache_bytes=reader.cache_bytes(len(read.tokens) + limit))

    def count(self, prompt: Conversation | str) -> int:
        return len(self._serving.reader(self._source.base).read(prompt).tokens)

    def tool_calls(self, prompt: Conversation, text: str) -> tuple[str | None, list[dict[str, object]]]:
        if not prompt.tools:
            return text, []
        reader = self._serving.reader(self._source.base)
        return split_calls(
            reader.tokenizer, text, prompt=reader.render(prompt), end=reader.turn_end, tools=prompt.tools
        )

    def calls_begin(self, prompt: Conversation, text: str) -> int:
        if not prompt.tools:
            return len(text)
        return calls_begin(self._serving.reader(self._source.base).tokenizer, text)


class _Reader:
    """A base model's tokenizer, chat template, ends of an answer, and the size of its cache."""

    def __init__(self, base: BaseFolder, cache: Path) -> None:
        folder = layout(base, cache)
        self.context_tokens = base.context_tokens
        self.tokenizer = load_tokenizer(base, cache)
        self._renderer = Renderer(self.tokenizer)
        know_calls(self.tokenizer)
        self._config = AutoConfig.from_pretrained(folder, local_files_only=True)
        end = _turn_end(self.tokenizer)
        self.turn_end = "" if end is None else str(self.tokenizer.convert_ids_to_tokens(end))
        self.ends = frozenset(_configured_ends(self.tokenizer, folder) | ({end} if end is not None else set()))

    def render(self, conversation: Conversation) -> str:
        """The text that the model reads before its answer, rendered as in training."""
        try:
            return self._renderer.text(conversation, prompt=True)
        except NotRendered as error:
            raise Refused("messages", f"The messages cannot be given to this model: {error}") from None

    def read(self, prompt: Conversation | str) -> Prompt:
        """A prompt's tokens. A chat template writes its own special tokens, a text gets the tokenizer's."""
        encode = self.tokenizer.backend_tokenizer.encode
        if isinstance(prompt, str):
            return Prompt(encode(prompt).ids or self._text_start())
        return Prompt(encode(self.render(prompt), add_special_tokens=False).ids, special=bool(prompt.tools))

    def _text_start(self) -> list[int]:
        """What a text begins with that has no token yet."""
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return [int(token)]
        raise Refused("prompt", "The prompt is empty, and this model has no token to begin a text with: write one.")

    def cache_bytes(self, tokens: int) -> int:
        """The memory of a sequence's keys and values."""
        return cache_bytes(self._config, tokens, value_bytes=weights_dtype().itemsize)


def _configured_ends(tokenizer: PreTrainedTokenizerBase, folder: Path) -> set[int]:
    """The tokens that end an answer by the model's folder."""
    try:
        configured = GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
    except OSError:
        configured = None
    ends = [tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])]
    return {token for token in ends if token is not None}


def _turn_end(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token that the chat template writes after an answer, if it does."""
    marker = "answer"
    turn = [{"role": "user", "content": "question"}, {"role": "assistant", "content": marker}]
    after = str(tokenizer.apply_chat_template(turn, tokenize=False)).rpartition(marker)[2].strip()
    following: list[int] = tokenizer.backend_tokenizer.encode(after, add_special_tokens=False).ids
    return following[0] if following and following[0] in tokenizer.all_special_ids else None
