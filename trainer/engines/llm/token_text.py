"""From tokens to text while an answer is made, and the bytes of a single token."""

import re
from functools import lru_cache

from tokenizers.decoders import DecodeStream
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

_BYTES = {character: byte for byte, character in bytes_to_unicode().items()}
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_CONTEXT = 8
"""Tokens before an answer that decide how its first one is written (a space before a word)."""


class TokenText:
    """The text of one answer, in whole characters; what is incomplete waits for the next token.

    Special tokens are left out, unless `special`: calls of tools are written with them in some models.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prompt: list[int], *, special: bool) -> None:
        self._tokenizer = tokenizer.backend_tokenizer
        self._stream = DecodeStream(ids=prompt[-_CONTEXT:], skip_special_tokens=not special)

    def add(self, token: int) -> str:
        """The text that becomes final by a token; often empty inside a character."""
        return self._stream.step(self._tokenizer, token) or ""


def token_bytes(tokenizer: PreTrainedTokenizerBase, token: int) -> bytes:
    """The bytes of a token, which need not be whole characters.

    They are exact for byte-level BPE (GPT-2 and its successors) and for SentencePiece with byte fallback.
    """
    written = tokenizer.convert_ids_to_tokens(token) or ""
    if token in tokenizer.added_tokens_decoder:
        return written.encode()
    if _is_byte_level(tokenizer):
        return bytes(_BYTES[character] for character in written if character in _BYTES)
    if byte := _BYTE_TOKEN.fullmatch(written):
        return bytes([int(byte[1], 16)])
    return written.replace("▁", " ").encode()


@lru_cache(maxsize=64)
def _is_byte_level(tokenizer: PreTrainedTokenizerBase) -> bool:
    return "ByteLevel" in repr(tokenizer.backend_tokenizer.decoder)
