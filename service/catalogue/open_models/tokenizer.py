"""An open model's own tokenizer, with `tokenizers`: the same numbers that the trainer sees, without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from service.catalogue.open_models.chat_templates import ChatTemplate, NotRendered
from service.catalogue.open_models.files import ModelFilesError, TokenizerFiles, read_tokenizer

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
"""Processes that count are several already, and are forked: threads of `tokenizers` would not survive that."""

import tokenizers  # noqa: E402 (after the setting, which it reads)


class OpenTokenizer:
    """Counts texts, and conversations by the model's chat template. `has_tools`: the template renders tools."""

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
            self._template = ChatTemplate(files.chat_template, files.special_tokens)
        except NotRendered as error:
            raise ModelFilesError(f"The chat template of {files.tokenizer.parent} does not compile: {error}.") from None
        self._eos = files.special_tokens.get("eos_token", "")
        self.has_tools = self._template.has_tools

    def count(self, text: str) -> int:
        """The number of tokens in one text, without special tokens around it."""
        return self._length(text, special=False)

    def count_all(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens in each of several texts."""
        return list(map(self.count, texts))

    def conversation_tokens(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        add_generation_prompt: bool = False,
    ) -> int:
        """The length of a conversation's sequence, of normalised messages and tools. Raises `NotRendered`."""
        return self.count(self._template.render(messages, tools, add_generation_prompt=add_generation_prompt))

    def completion_tokens(self, prompt: str, completion: str) -> int:
        """The length of a completion row's sequence: both texts in one, and the token that ends it."""
        text = prompt + completion
        return self._length(text if text.endswith(self._eos) else text + self._eos, special=True)

    def _length(self, text: str, *, special: bool) -> int:
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()  # a lone surrogate cannot be encoded
        return len(self._tokenizer.encode(text, add_special_tokens=special).ids)


@lru_cache(maxsize=8)
def open_tokenizer(path: str) -> OpenTokenizer:
    """The tokenizer of a folder, loaded once in a process. Raises `ModelFilesError`."""
    return load_tokenizer(Path(path))


def load_tokenizer(path: Path) -> OpenTokenizer:
    """The tokenizer of a folder, or of a tokenizer.json. Raises `ModelFilesError`."""
    return OpenTokenizer(read_tokenizer(path))
