"""An open model's own tokenizer, with `tokenizers`: the same numbers that the trainer sees, without torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from service.catalogue.base_models import Overhead
from service.catalogue.open_models.chat_templates import ChatTemplate, NotRendered
from service.catalogue.open_models.files import ModelFilesError, TokenizerFiles, read_tokenizer
from service.catalogue.open_models.rendering import Rendering

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
"""Processes that count are several already, and are forked: threads of `tokenizers` would not survive that."""

import tokenizers  # noqa: E402 (after the setting, which it reads)

Span = tuple[int, int]
"""The first character of a part of a text, and the one behind its last."""

_BEHIND_ALL: Span = (sys.maxsize, sys.maxsize)


class Counted(NamedTuple):
    """The number of tokens in a text, and how many of them are learned; the first of a text is never predicted."""

    length: int
    trained: int


class OpenTokenizer:
    """Counts texts as the model does; `rendering` is its chat template."""

    def __init__(self, files: TokenizerFiles) -> None:
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(files.tokenizer))
        except Exception as error:  # the library raises Exception itself
            raise ModelFilesError(
                f"{files.tokenizer} cannot be loaded: {error}. Copy the model's folder again, or update `tokenizers`."
            ) from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        try:
            self.rendering = Rendering(ChatTemplate(files.chat_template, files.special_tokens))
        except NotRendered as error:
            raise ModelFilesError(f"The chat template of {files.tokenizer.parent} does not compile: {error}.") from None
        tokens = self._tokenizer.get_added_tokens_decoder().values()
        self.special_tokens = tuple(sorted(token.content for token in tokens if token.special))
        added = {token.content for token in tokens}
        self._ends = tuple(token for token in added | set(files.special_tokens.values()) if token.strip())
        self._eos = files.special_tokens.get("eos_token", "")

    def count(self, text: str) -> int:
        """The number of tokens in one text, without special tokens around it."""
        return len(self._tokenizer.encode_batch_fast([_encodable(text)], add_special_tokens=False)[0])

    def count_trained(self, text: str, spans: Sequence[Span], *, special: bool = False) -> Counted:
        """The tokens of a text, and how many of them cover a character of the spans, which are in order."""
        encoding = self._tokenizer.encode(_encodable(text), add_special_tokens=special)
        offsets = encoding.offsets
        remaining, trained = iter(spans), 0
        first, behind = next(remaining, _BEHIND_ALL)
        for begin, end in offsets[1:]:
            while begin >= behind:
                first, behind = next(remaining, _BEHIND_ALL)
            if end > first:
                trained += 1
        return Counted(len(offsets), trained)

    def count_all(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens in each of several texts."""
        return list(map(self.count, texts))

    def turn_end(self, text: str) -> int:
        """Where the last turn of a text ends: behind its end-of-turn token, before the line break that may follow."""
        stripped = text.rstrip()
        return len(stripped) if stripped.endswith(self._ends) else len(text)

    def definition_tokens(self, tools: Sequence[Mapping[str, Any]]) -> int:
        """The tokens that tool definitions add to a conversation; 0 if the template renders none."""
        question = [{"role": "user", "content": "?"}]
        try:
            with_tools, without = self.rendering.text(question, tools), self.rendering.text(question)
        except NotRendered:
            return 0
        return self.count(with_tools) - self.count(without)

    def overhead(self) -> Overhead:
        """The tokens that the chat template adds to the texts of a prompt."""
        question = {"role": "user", "content": ""}
        alone = self._prompt_tokens([question])
        system = self._prompt_tokens([{"role": "system", "content": ""}, question])
        turn = self._prompt_tokens([question, {"role": "assistant", "content": ""}, question])
        tool = {"type": "function", "function": {"name": "f", "description": "", "parameters": {}}}
        return Overhead(
            prompt=alone,
            message=max(system - alone, turn - alone, 0),
            tools=max(self._prompt_tokens([question], [tool]) - alone, 0),
        )

    def _prompt_tokens(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> int:
        try:
            return self.count(self.rendering.text(messages, tools, prompt=True))
        except NotRendered:
            return 0

    def count_completion(self, prompt: str, completion: str) -> Counted:
        """The tokens of a completion row's sequence: both texts in one, and the token that ends it."""
        text = prompt + completion
        text = text if text.endswith(self._eos) else text + self._eos
        return self.count_trained(text, [(len(prompt), len(text))], special=True)


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()  # a lone surrogate cannot be encoded


@lru_cache(maxsize=8)
def open_tokenizer(path: str) -> OpenTokenizer:
    """The tokenizer of a folder, loaded once in a process. Raises `ModelFilesError`."""
    return load_tokenizer(Path(path))


def load_tokenizer(path: Path) -> OpenTokenizer:
    """The tokenizer of a folder, or of a tokenizer.json. Raises `ModelFilesError`."""
    return OpenTokenizer(read_tokenizer(path))
