"""The shapes of a model's weights, out of the headers of its files: no weight is read."""

import json
import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

from .gguf_header import read_tensors
from .models_folder import BaseFolder

_NO_LINEAR = ("embed", "lm_head", "norm", "wte", "wpe", "output.weight")
_MAX_HEADER_BYTES = 100 << 20


@dataclass(frozen=True, slots=True)
class Shapes:
    """`linear` are the layers that an adapter can change, by name, as (outputs, inputs)."""

    parameters: int
    hidden: int
    layers: int
    linear: tuple[tuple[str, tuple[int, int]], ...]


def read_shapes(base: BaseFolder) -> Shapes:
    """The shapes of a base model. Zero where its files do not say them (weights in PyTorch's older format)."""
    return _read(base.path, base.gguf)


@lru_cache(maxsize=64)
def _read(path: Path, gguf: Path | None) -> Shapes:
    tensors = read_tensors(gguf) if gguf is not None else _safetensors(path)
    blocks = {found[0] for name in tensors if (found := re.search(r"(layers|h|blk|blocks)\.\d+", name))}
    norms = [shape[0] for name, shape in tensors.items() if "norm" in name and len(shape) == 1]
    linear = tuple(
        (name.removesuffix(".weight"), (shape[0], shape[1]))
        for name, shape in tensors.items()
        if len(shape) == 2 and name.endswith(".weight") and not any(part in name for part in _NO_LINEAR)
    )
    return Shapes(
        parameters=sum(prod(shape) for shape in tensors.values()),
        hidden=max(norms, default=0),
        layers=len(blocks),
        linear=linear,
    )


def _safetensors(folder: Path) -> dict[str, tuple[int, ...]]:
    """The format: 8 bytes with the size of a JSON header, then that (github.com/huggingface/safetensors)."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
            if size > _MAX_HEADER_BYTES:
                raise ValueError(f"the header of {path} is too large")
            header = json.loads(file.read(size))
        shapes |= {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    return shapes
