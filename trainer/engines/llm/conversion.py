"""Converts a GGUF file once to safetensors: loading it takes a minute, since its weights must be dequantised."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

from ..port import Refused
from .gguf_header import read_tensors
from .models_folder import BaseFolder

_SPARE_BYTES = 1 << 30


def layout(base: BaseFolder, cache: Path) -> Path:
    """The folder in Hugging Face layout from which a base model is loaded, converted first where it must be.

    Processes that need the same conversion wait for the first one. Raises Refused when the model cannot be converted,
    or the disk has too little space.
    """
    if base.gguf is None:
        return base.path
    folder = cache / f"{base.name}-{_version(base.gguf)}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with _lock(cache / "conversion.lock"):
            if not folder.exists():
                _remove_older(base, cache)
                _convert(base, base.gguf, folder)
    return folder


def _convert(base: BaseFolder, file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from .devices import weights_dtype

    _check_space(base, file, folder.parent)
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.path, gguf_file=file.name, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            base.path,
            gguf_file=file.name,
            local_files_only=True,
            dtype=weights_dtype(),
            quantization_config=GgufConfig(dequantize=True),
        )
        if getattr(model, "hf_quantizer", None) is not None:
            model.hf_quantizer.remove_quantization_config(model)
    except (ValueError, KeyError, ImportError, NotImplementedError, torch.OutOfMemoryError) as error:
        raise Refused(
            "model",
            f"{file} cannot be converted: {error}. Put the model there in Hugging Face layout instead",
            code="model_not_usable",
        ) from error
    tokenizer.chat_template = base.chat_template
    tokenizer.save_pretrained(partial)
    model.save_pretrained(partial)
    partial.replace(folder)


def _check_space(base: BaseFolder, file: Path, cache: Path) -> None:
    """Before the conversion is begun."""
    from .devices import weights_dtype

    weights = sum(prod(shape) for shape in read_tensors(file).values())
    needed = weights * weights_dtype().itemsize + _SPARE_BYTES
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise Refused(
            "model",
            f"Converting {file} takes {needed / 1e9:.1f} GB in {cache}, which has {free / 1e9:.1f} GB left: free some "
            "space, or move the data directory",
            code="model_not_usable",
        )


def _remove_older(base: BaseFolder, cache: Path) -> None:
    """Conversions of this model's earlier files, and what a killed conversion left: the cache has one a model."""
    for path in cache.iterdir():
        name = path.name.removeprefix(".").removesuffix(".partial")
        if path.is_dir() and name.rpartition("-")[0] == base.name:
            shutil.rmtree(path)


def _version(file: Path) -> str:
    from .devices import weights_dtype

    status = file.stat()
    facts = f"{file.absolute()} {status.st_size} {status.st_mtime_ns} {weights_dtype()}"
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
