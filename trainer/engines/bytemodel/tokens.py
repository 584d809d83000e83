"""Counts tokens, in the same way for `trained_tokens` and `usage`.

With a valid `o200k_base` in the folder that TIKTOKEN_CACHE_DIR names it is tiktoken's count; without, UTF-8 bytes
divided by four, rounded up. Nothing is ever downloaded: tiktoken is only used after the file's hash was checked.
"""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

_URL_SHA1 = "fb374d419588a4632f3f557e76b4b70aebbca790"
_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"


def count_tokens(text: str) -> int:
    """The number of tokens in a text; never raises on special tokens or lone surrogates."""
    return _counter()(text.encode("utf-8", "replace").decode())


@cache
def _counter() -> Callable[[str], int]:
    folder = os.environ.get("TIKTOKEN_CACHE_DIR", "")
    path = Path(folder) / _URL_SHA1
    if not folder or not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
        return _quarter_bytes
    try:
        import tiktoken
    except ImportError:
        return _quarter_bytes
    encoding = tiktoken.get_encoding("o200k_base")
    return lambda text: len(encoding.encode_ordinary(text))


def _quarter_bytes(text: str) -> int:
    return -(-len(text.encode()) // 4)
