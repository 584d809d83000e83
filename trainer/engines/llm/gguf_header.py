"""Reads the header of a GGUF file without its long arrays.

The `gguf` package reads the whole vocabulary too, which takes seconds. Format: docs/gguf.md of ggml-org/ggml.
"""

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path

_MAGIC = b"GGUF"
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

Value = int | float | bool | str
"""A scalar of a header; of an array its number of elements."""


def read_header(path: Path) -> Mapping[str, Value]:
    """The keys of a GGUF file with their values. Raises ValueError if it is not one."""
    return _read(path)[0]


def read_tensors(path: Path) -> dict[str, tuple[int, ...]]:
    """The names of the tensors with their shapes: rows first, as PyTorch has them. Raises ValueError."""
    return _read(path)[1]


def _read(path: Path) -> tuple[dict[str, Value], dict[str, tuple[int, ...]]]:
    with path.open("rb") as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise ValueError("the file is empty") from None
        with content:
            if content[:4] != _MAGIC:
                raise ValueError("the file does not begin with GGUF")
            try:
                return _Reader(content).all()
            except (struct.error, KeyError, UnicodeDecodeError, OverflowError, RecursionError) as error:
                raise ValueError(f"the header is damaged ({error})") from None


class _Reader:
    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._at = len(_MAGIC)

    def all(self) -> tuple[dict[str, Value], dict[str, tuple[int, ...]]]:
        version = self._scalar("I")
        if version not in (2, 3):
            raise ValueError(f"version {version} of GGUF is not known")
        tensors, keys = int(self._scalar("Q")), int(self._scalar("Q"))
        values = {self._string(): self._value(int(self._scalar("I"))) for _ in range(keys)}
        return values, dict(self._tensor() for _ in range(tensors))

    def _tensor(self) -> tuple[str, tuple[int, ...]]:
        name = self._string()
        sizes = [int(self._scalar("Q")) for _ in range(int(self._scalar("I")))]
        self._scalar("I")
        self._scalar("Q")
        return name, tuple(reversed(sizes))

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._string()
        return self._array() if kind == _ARRAY else self._scalar(_SCALARS[kind])

    def _array(self) -> int:
        kind, count = int(self._scalar("I")), int(self._scalar("Q"))
        if kind in _SCALARS:
            self._at += struct.calcsize("<" + _SCALARS[kind]) * count
        else:
            for _ in range(count):
                self._skip_string() if kind == _STRING else self._array()
        return count

    def _skip_string(self) -> None:
        size = int(self._scalar("Q"))
        self._at += size

    def _string(self) -> str:
        size = int(self._scalar("Q"))
        if self._at + size > len(self._content):
            raise struct.error("a text is longer than the file")
        text = self._content[self._at : self._at + size].decode()
        self._at += size
        return text

    def _scalar(self, form: str) -> Value:
        (value,) = struct.unpack_from("<" + form, self._content, self._at)
        self._at += struct.calcsize("<" + form)
        return value  # type: ignore[no-any-return]
