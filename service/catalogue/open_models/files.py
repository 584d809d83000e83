"""Reads the files that a tokenizer and its chat template have in a model's folder. It loads no tokenizer.

Source of the names and of which file wins: transformers 5.24, `PreTrainedTokenizerBase.from_pretrained`. Of several
named templates the trainer uses `default`, for conversations with tools too.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 256 << 20
"""The largest tokenizer.json that is read; those of large vocabularies have some 30 MB."""

MAX_RENDERED_CHARS = 64_000_000
"""A longer text is not rendered: four times the longest line. A template that repeats long texts would fill memory."""

MAX_PREFIX_MESSAGES = 300_000
"""Messages that are rendered to find the answers of one row: the work grows with the square of a conversation.

Conversations of some 540 turns are within it. The trainer has the same bound (`engines/llm/sequences.py`).
"""

_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class ModelFilesError(Exception):
    """A model's files cannot be used; the message says what is wrong and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFiles:
    """A tokenizer and its chat template.

    `special_tokens` are passed to the template under their names. `sha256` is that of tokenizer.json, `fingerprint`
    that of all that decides a count.
    """

    tokenizer: Path
    chat_template: str
    special_tokens: Mapping[str, str]
    sha256: str
    fingerprint: str


def read_tokenizer(path: Path) -> TokenizerFiles:
    """The files at `path`, a model's folder or its tokenizer.json. Raises `ModelFilesError`."""
    require_extra()
    folder = path if path.is_dir() else path.parent
    tokenizer = folder / "tokenizer.json" if path.is_dir() else path
    if not path.exists():
        raise ModelFilesError(f"`tokenizer` names {path}, which does not exist. Name a folder that has tokenizer.json.")
    if not tokenizer.is_file():
        raise ModelFilesError(_no_tokenizer(folder))
    config = read_json(folder / "tokenizer_config.json")
    template = _template(folder, config)
    special = {name: text for name in _SPECIAL if (text := _text_of(config.get(name))) is not None}
    sha256 = hashlib.sha256(_bytes(tokenizer)).hexdigest()
    decisive = json.dumps([sha256, template, special], sort_keys=True)
    return TokenizerFiles(
        tokenizer=tokenizer,
        chat_template=template,
        special_tokens=special,
        sha256=sha256,
        fingerprint=hashlib.sha256(decisive.encode()).hexdigest(),
    )


def require_extra() -> None:
    """Raises `ModelFilesError` unless the packages of the extra `open-models` are installed."""
    missing = [name for name in ("tokenizers", "jinja2") if find_spec(name) is None]
    if missing:
        raise ModelFilesError(
            f"Open models need {' and '.join(missing)}. Install the extra: pip install 'tunegate[open-models]'."
        )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no file. Raises `ModelFilesError`."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise ModelFilesError(f"{path} is not JSON ({error}). Copy the model's folder again.") from None
    if not isinstance(content, dict):
        raise ModelFilesError(f"{path} is not a JSON object. Copy the model's folder again.")
    return content


def _no_tokenizer(folder: Path) -> str:
    if any(folder.glob("*.gguf")):
        return (
            f"{folder} has a GGUF file and no tokenizer.json. The trainer converts it at its first use: name "
            "the converted folder, in the trainer's data directory."
        )
    return f"{folder} has no tokenizer.json. Name a model's folder in Hugging Face layout."


def _template(folder: Path, config: Mapping[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return _bytes(file).decode("utf-8", "replace")
    for content in (read_json(folder / "chat_template.json"), config):
        template = content.get("chat_template")
        if isinstance(template, list):
            named = {each.get("name"): each.get("template") for each in template if isinstance(each, dict)}
            template = named.get("default")
        if isinstance(template, str):
            return template
    raise ModelFilesError(
        f"{folder} has no chat template. Add chat_template.jinja, or `chat_template` in tokenizer_config.json. A model "
        "without one is usually a base model; its instruct version has one."
    )


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelFilesError(f"{path} has more than {MAX_FILE_BYTES >> 20} MB.")
        return path.read_bytes()
    except OSError as error:
        raise ModelFilesError(f"{path} cannot be read: {error.strerror}.") from None


def _text_of(token: object) -> str | None:
    """The text of a special token, which tokenizer_config.json has as a string or as an object."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None
