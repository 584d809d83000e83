"""Describes the models in a folder: one sub-folder each, in Hugging Face layout, as the trainer reads it too.

What a model says of itself (context, licence) and defaults for an own trainer (methods, no price) make an entry of the
models file; the file's own entries win field by field.
"""

import datetime as dt
import glob
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.catalogue.open_models.files import ModelFilesError, read_json

_CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
_UNLIMITED = 10**9
"""A `model_max_length` from this on stands for none; transformers writes 10**30."""

_MAX_CARD_CHARS = 1 << 20


def folder_entries(folder: Path, converted: Path | None) -> dict[str, dict[str, Any]]:
    """An entry of the models file for each model in a folder, by name. Other sub-folders are left out.

    `converted` is the folder in which the trainer has converted GGUF files. Raises `ModelFilesError` for a folder that
    does not exist or has no model, and for a model without a context length or a conversion.
    """
    if not folder.is_dir():
        raise ModelFilesError(f"The models folder {folder} does not exist. Name a folder with one sub-folder a model.")
    entries = {
        path.name: _entry(_layout(path, converted), path)
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".") and _is_model(path)
    }
    if not entries:
        raise ModelFilesError(
            f"The models folder {folder} has no model. Put each into a sub-folder: config.json, tokenizer.json, "
            "tokenizer_config.json and the weights, or one GGUF file."
        )
    return entries


def _is_model(path: Path) -> bool:
    return (path / "config.json").is_file() or any(path.glob("*.gguf"))


def _layout(path: Path, converted: Path | None) -> Path:
    """The folder in Hugging Face layout: the model's own, or its conversion, `NAME-VERSION` in the trainer's cache."""
    if (path / "config.json").is_file():
        return path
    if converted is not None:
        for found in sorted(converted.glob(f"{glob.escape(path.name)}-*/tokenizer.json")):
            if found.parent.name.rpartition("-")[0] == path.name:
                return found.parent
    raise ModelFilesError(
        f"{path} has a GGUF file, which the trainer converts at its first use. Start the trainer first, and set "
        "`converted` in the models file to the folder of its conversions."
    )


def _entry(layout: Path, path: Path) -> dict[str, Any]:
    license = _card_license(path)
    return {
        "name": path.name,
        "tokenizer": str(layout.absolute()),
        "max_tokens": _context(layout),
        "methods": ["supervised", "dpo"],
        "formats": ["chat", "completion", "preference"],
        "training": [{"from": dt.date(2000, 1, 1), "micros": 0, "source": "own hardware: no price is set"}],
        **({} if license is None else {"license": license}),
    }


def _context(layout: Path) -> int:
    config = read_json(layout / "config.json")
    text = config.get("text_config")
    fields: Mapping[str, Any] = {**config, **(text if isinstance(text, dict) else {})}
    lengths = [length for name in _CONTEXT_FIELDS if isinstance(length := fields.get(name), int) and length > 0]
    if not lengths:
        raise ModelFilesError(
            f"{layout / 'config.json'} does not say the model's context length. Set `max_tokens` in the models file's "
            "entry and `max_position_embeddings` there, as the model card says it."
        )
    limit = read_json(layout / "tokenizer_config.json").get("model_max_length")
    return int(min([lengths[0], *([limit] if isinstance(limit, int) and 0 < limit < _UNLIMITED else [])]))


def _card_license(path: Path) -> str | None:
    """The `license` of the model card's front matter (huggingface.co/docs/hub/model-cards)."""
    try:
        with (path / "README.md").open(encoding="utf-8", errors="replace") as file:
            card = file.read(_MAX_CARD_CHARS)
    except OSError:
        return None
    front = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
    found = re.search(r"^license:\s*(\S+)\s*$", front[1], re.MULTILINE) if front else None
    return found[1].strip("\"'") if found else None
