"""`python -m benchmarks.open_models [--rows 3000] [--runs 5]`: counting a chat for an open model against tiktoken.

One process counts the same rows in turn: by an open model's tokenizer and chat template, as reports do, and the same
texts by tiktoken with o200k_base. Times are the best of all runs. The tokenizer is made here: byte-level BPE, trained on
the files of `examples/`, which give some 8,000 of the 32,000 merges asked for: it is none of a real model.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.corpus import MEGABYTE, write_corpus
from service.catalogue.open_models.row_sequences import sequences_of
from service.catalogue.open_models.tokenizer import load_tokenizer
from service.catalogue.tokens import reference_counter

MERGES = 32_000
CHATML = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
_EXAMPLES = Path(__file__).parents[1] / "examples"
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.open_models")
    parser.add_argument("--rows", type=int, default=3_000, help="rows that are counted (default 3,000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default 5)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tunegate-bench-") as folder:
        merges = _write_model(Path(folder) / "model")
        tokenizer = load_tokenizer(Path(folder) / "model")
        rows = _rows(Path(folder) / "corpus.jsonl", options.rows)
    texts = [[message["content"] for message in row["messages"]] for row in rows]
    count_all = reference_counter("o200k_base").count_all
    ways: dict[str, Callable[[], int]] = {
        "open model, as reports": lambda: sum([sum(sequences_of(row, tokenizer).lengths) for row in rows]),
        "its tokenizer alone": lambda: sum([tokenizer.count(text) for row in texts for text in row]),
        "tiktoken": lambda: sum([sum(count_all(row)) for row in texts]),
    }
    seconds, tokens = {name: float("inf") for name in ways}, dict.fromkeys(ways, 0)
    for _ in range(options.runs):
        for name, count in ways.items():
            start = time.process_time()
            tokens[name] = count()
            seconds[name] = min(seconds[name], time.process_time() - start)
    chars = sum(len(text) for row in texts for text in row)
    print(f"{len(rows):,} rows, {chars / MEGABYTE:.1f} million characters, {merges:,} merges, best of {options.runs}")
    print(f"{'':24}{'CPU s':>8}{'of tiktoken':>13}{'tokens':>12}")
    for name in ways:
        print(f"{name:24}{seconds[name]:8.2f}{seconds[name] / seconds['tiktoken']:12.2f}x{tokens[name]:12,}")


def _write_model(folder: Path) -> int:
    """Writes a tokenizer and a chat template, as a model's folder has them; returns the number of merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=MERGES + len(alphabet) + len(_SPECIAL),
        special_tokens=_SPECIAL,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    bpe.train_from_iterator(_example_texts(), trainer)
    folder.mkdir()
    bpe.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    (folder / "chat_template.jinja").write_text(CHATML)
    return int(bpe.get_vocab_size()) - len(alphabet) - len(_SPECIAL)


def _example_texts() -> Iterator[str]:
    for path in sorted(_EXAMPLES.rglob("*.jsonl")):
        yield path.read_text(encoding="utf-8", errors="replace")


def _rows(path: Path, number: int) -> list[dict[str, Any]]:
    write_corpus(path, number * 4_000)
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line, _ in zip(lines, range(number), strict=False)]


if __name__ == "__main__":
    main()
