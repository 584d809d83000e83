"""Folders of open models for tests that need no weights: a small tokenizer and a chat template."""

import json
from functools import lru_cache
from pathlib import Path

from tests.llm.tiny import BEGIN, CHATML, END, PAD, SENTENCES, SPECIAL, UNKNOWN, VOCABULARY

CONTEXT = 512


def write_open_model(
    folder: Path, *, template: str | None = CHATML, context: int = CONTEXT, license: str | None = "apache-2.0"
) -> Path:
    """Write what the gateway reads of a model in Hugging Face layout."""
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(_tokenizer_json())
    special = {"bos_token": BEGIN, "eos_token": {"content": END}, "unk_token": UNKNOWN, "pad_token": PAD}
    (folder / "tokenizer_config.json").write_text(json.dumps({**special, "model_max_length": context}))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": context}))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    if license is not None:
        (folder / "README.md").write_text(f"---\nlicense: {license}\n---\n# A model\n")
    return folder


def write_models_file(file: Path, *entries: str, default_model: str = "tiny") -> Path:
    """Write a models file with these entries, each the lines of a table."""
    tables = "".join(f"\n[[models]]\n{entry.strip()}\n" for entry in entries)
    file.write_text(f'default_model = "{default_model}"\n{tables}')
    return file


ENTRY = """
name = "tiny"
tokenizer = "tiny"
max_tokens = 512
methods = ["supervised", "dpo"]
formats = ["chat", "completion", "preference"]
"""
"""An entry of a models file beside the folder `tiny`; in a file of only this one it begins on line 3."""


@lru_cache(maxsize=1)
def _tokenizer_json() -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    return str(bpe.to_str())
