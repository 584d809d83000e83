"""Finds the base models in a folder: one sub-folder each, in Hugging Face layout or with one GGUF file.

Reads small files only and imports nothing of torch, so that a server can list its models at once.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..port import Refused
from .gguf_header import Value, read_header

MODELS_FILE = "models.toml"
"""The gateway's models file, which may lie beside the models; a few of its fields win over what a model says."""
_CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
_GENERATIVE = re.compile(r"(ForCausalLM|LMHeadModel|ForConditionalGeneration)$")
_TEMPLATE_FILE = "chat_template.jinja"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFolder:
    """A base model as it lies on disk.

    `gguf` is its GGUF file, None for the Hugging Face layout. `context_tokens` is the longest sequence.
    `learning_rate` is what a multiplier of 1 means for LoRA, `full_learning_rate` for all weights, None for the
    default. `tokenizer_sha256` is the hash of `tokenizer.json`, None for a GGUF file, whose tokenizer is converted at
    its first use. `config` is `config.json`, or the keys of the GGUF file.
    """

    name: str
    path: Path
    gguf: Path | None
    context_tokens: int
    chat_template: str
    license: str | None
    tokenizer_sha256: str | None
    learning_rate: float | None
    full_learning_rate: float | None
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Models:
    """The base models of a folder by name, and why the other sub-folders are none."""

    usable: Mapping[str, BaseFolder]
    unusable: Mapping[str, str]

    def find(self, name: str) -> BaseFolder:
        """A base model. Raises Refused, with what to do about a folder that is none."""
        if name in self.unusable:
            raise Refused("model", self.unusable[name], code="model_not_usable")
        if name not in self.usable:
            known = ", ".join(sorted(self.usable))
            raise Refused(
                "model", f"The model {name!r} does not exist here; there are: {known}", code="model_not_found"
            )
        return self.usable[name]


def find_models(folder: Path) -> Models:
    """Read a models folder. Raises Refused when it does not exist, or its models file is not TOML."""
    if not folder.is_dir():
        raise Refused(
            None, f"The models folder {folder} does not exist: set TRAINER_MODELS_DIR to a folder with models"
        )
    entries = _models_file(folder / MODELS_FILE)
    usable: dict[str, BaseFolder] = {}
    unusable: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            try:
                usable[path.name] = _with_entry(read_base(path), entries.get(path.name, {}))
            except Refused as refused:
                unusable[path.name] = str(refused)
            except (OSError, ValueError) as error:
                unusable[path.name] = f"{path} cannot be read: {error}. Copy the model's folder again"
    return Models(usable, unusable)


def read_base(path: Path) -> BaseFolder:
    """Read one base model. Raises Refused with the path, what is missing, and what to do."""
    if (path / "config.json").is_file():
        return _hugging_face(path)
    files = sorted(path.glob("*.gguf"))
    if len(files) > 1:
        raise Refused(None, f"{path} has {len(files)} GGUF files: leave one, or give each a folder of its own")
    if not files:
        raise Refused(
            None,
            f"{path} is no model: it has neither config.json (Hugging Face layout) nor a *.gguf file. Put the whole "
            "folder of the model there",
        )
    return _gguf(path, files[0])


def _hugging_face(path: Path) -> BaseFolder:
    config = _json(path / "config.json")
    _check_generative(path, config)
    if not any(path.glob("*.safetensors")) and not any(path.glob("pytorch_model*.bin")):
        raise Refused(
            None, f"{path} has no weights: *.safetensors (or pytorch_model*.bin) is missing. Download them too"
        )
    tokenizer = path / "tokenizer.json"
    if not tokenizer.is_file():
        raise Refused(
            None,
            f"{path} has no tokenizer: tokenizer.json is missing. Copy it from the model's repository; if that has "
            "only another form, AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes it",
        )
    template = _template(path)
    if template is None:
        raise Refused(
            None,
            f"{path} has no chat template, neither in {_TEMPLATE_FILE} nor in tokenizer_config.json: it seems to be a "
            f"model without instruction tuning. Use its instruct version, or write one into {path / _TEMPLATE_FILE}",
        )
    return BaseFolder(
        name=path.name,
        path=path,
        gguf=None,
        context_tokens=_context(path, config),
        chat_template=template,
        license=_card_license(path),
        tokenizer_sha256=_sha256(tokenizer),
        learning_rate=None,
        full_learning_rate=None,
        config=config,
    )


def _gguf(path: Path, file: Path) -> BaseFolder:
    try:
        header = read_header(file)
    except (OSError, ValueError) as error:
        raise Refused(None, f"{file} cannot be read: {error}. Download it again") from None
    if not header.get("tokenizer.ggml.tokens"):
        raise Refused(None, f"{file} has no tokenizer: use a GGUF file that was converted with its vocabulary")
    template = header.get("tokenizer.chat_template")
    if not isinstance(template, str):
        raise Refused(None, f"{file} has no chat template: use the instruct version of the model")
    architecture = header.get("general.architecture")
    context = header.get(f"{architecture}.context_length")
    if not isinstance(context, int) or context < 1:
        raise Refused(None, f"{file} does not say the model's context length: convert the model again")
    return BaseFolder(
        name=path.name,
        path=path,
        gguf=file,
        context_tokens=context,
        chat_template=template,
        license=_text(header.get("general.license")),
        tokenizer_sha256=None,
        learning_rate=None,
        full_learning_rate=None,
        config=header,
    )


def _check_generative(path: Path, config: Mapping[str, Any]) -> None:
    given = config.get("architectures")
    architectures = given if isinstance(given, list) else []
    if config.get("is_encoder_decoder") or (
        architectures and not any(_GENERATIVE.search(str(name)) for name in architectures)
    ):
        named = ", ".join(map(str, architectures)) or config.get("model_type")
        raise Refused(None, f"{path} is no causal language model but {named}: use a model that continues text")
    if not config.get("model_type"):
        raise Refused(
            None, f"{path / 'config.json'} has no model_type: its layout is not known. Download the model again"
        )


def _context(path: Path, config: Mapping[str, Any]) -> int:
    text = config.get("text_config")
    fields = {**config, **(text if isinstance(text, dict) else {})}
    lengths = [length for name in _CONTEXT_FIELDS if isinstance(length := fields.get(name), int) and length > 0]
    if not lengths:
        raise Refused(
            None,
            f"{path / 'config.json'} does not say the model's context length: add max_position_embeddings, as its "
            "model card says it",
        )
    limit = _json(path / "tokenizer_config.json").get("model_max_length")
    return int(min([lengths[0], *([limit] if isinstance(limit, int) and 0 < limit < 10**9 else [])]))


def _template(path: Path) -> str | None:
    """As transformers reads it: a file of its own wins; of several named templates `default` is the chat's."""
    if (path / _TEMPLATE_FILE).is_file():
        return (path / _TEMPLATE_FILE).read_text(encoding="utf-8")
    for file in ("chat_template.json", "tokenizer_config.json"):
        template = _json(path / file).get("chat_template")
        if isinstance(template, list):
            named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
            template = named.get("default")
        if isinstance(template, str):
            return template
    return None


def _card_license(path: Path) -> str | None:
    """The `license` of the model card's front matter (huggingface.co/docs/hub/model-cards)."""
    try:
        card = (path / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    front = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
    found = re.search(r"^license:\s*(\S+)\s*$", front[1], re.MULTILINE) if front else None
    return found[1].strip("\"'") if found else None


def _models_file(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(None, f"The models file {path} cannot be read: {error}") from None
    models = content.get("models", [])
    if not isinstance(models, list):
        raise Refused(None, f"The models file {path} cannot be read: `models` must be a list of [[models]] entries")
    return {str(entry.get("name")): entry for entry in models if isinstance(entry, dict)}


def _with_entry(base: BaseFolder, entry: Mapping[str, Any]) -> BaseFolder:
    """The fields that the models file sets; `max_tokens` may shorten the model's context, never lengthen it."""
    tokens, rate = entry.get("max_tokens"), entry.get("learning_rate")
    if tokens is not None and (not isinstance(tokens, int) or tokens < 1):
        raise Refused(None, f"{base.path.parent / MODELS_FILE}: the max_tokens of {base.name} must be at least 1")
    rates = rate if isinstance(rate, dict) else {"lora": rate}
    return replace(
        base,
        context_tokens=base.context_tokens if tokens is None else min(base.context_tokens, tokens),
        license=_text(entry.get("license")) or base.license,
        learning_rate=_rate(base, rates.get("lora")),
        full_learning_rate=_rate(base, rates.get("full")),
    )


def _rate(base: BaseFolder, rate: object) -> float | None:
    if rate is not None and not (isinstance(rate, float) and 0 < rate < 1):
        raise Refused(
            None,
            f"{base.path.parent / MODELS_FILE}: the learning_rate of {base.name} must be between 0 and 1, such as "
            "2e-4, or a table such as { lora = 2e-4, full = 1e-5 }",
        )
    return rate


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(None, f"{path} cannot be read: {error}. Download it again") from None
    return content if isinstance(content, dict) else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text(value: Value | None) -> str | None:
    return value if isinstance(value, str) and value else None
