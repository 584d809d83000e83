"""Loads tokenizers and weights from local folders; nothing is ever downloaded."""

import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from ..port import Refused
from .conversion import layout
from .devices import device, weights_dtype
from .models_folder import BaseFolder

disable_progress_bar()

ADAPTER_CONFIG = "adapter_config.json"
"""The file that tells a folder with an adapter from one with all weights (PEFT's name)."""


def load_tokenizer(base: BaseFolder, cache: Path) -> PreTrainedTokenizerBase:
    """The model's own tokenizer with its chat template, and a padding token in any case."""
    tokenizer = AutoTokenizer.from_pretrained(layout(base, cache), local_files_only=True)
    if not tokenizer.is_fast:
        raise Refused("model", f"{base.path} has a tokenizer that cannot say which characters a token covers")
    tokenizer.chat_template = base.chat_template
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def load_base(base: BaseFolder, cache: Path, *, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """A base model's weights on this process's device, in the device's precision unless `dtype` is given.

    Raises Refused when transformers does not know the model.
    """
    return _load(layout(base, cache), base, dtype)


def load_tuned(
    base: BaseFolder, weights: Path, cache: Path, *, trainable: bool = False, dtype: torch.dtype | None = None
) -> PreTrainedModel | PeftModel:
    """A tuned model: the base with the adapter in `weights`, or the full weights that lie there."""
    if not is_adapter(weights):
        return _load(weights, base, dtype)
    return PeftModel.from_pretrained(load_base(base, cache), weights, is_trainable=trainable, local_files_only=True)


def is_adapter(weights: Path) -> bool:
    """Whether a folder that training stored has an adapter; else it has full weights."""
    return (weights / ADAPTER_CONFIG).is_file()


def adapter_config(weights: Path) -> dict[str, Any]:
    """PEFT's settings of a stored adapter."""
    content = json.loads((weights / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def _load(folder: Path, base: BaseFolder, dtype: torch.dtype | None) -> PreTrainedModel:
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=dtype or weights_dtype())
    except (ValueError, KeyError, OSError, ImportError) as error:
        raise Refused("model", f"The model {base.name} cannot be loaded from {folder}: {error}") from error
    return model.to(device())
