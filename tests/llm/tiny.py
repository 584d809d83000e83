"""A tiny Llama with random weights and a tokenizer of its own, in Hugging Face layout and as a GGUF file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

LAYERS, HEADS, KEY_VALUE_HEADS = 2, 4, 2
VOCABULARY, CONTEXT = 512, 512
UNKNOWN, BEGIN, END, PAD = SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")

SENTENCES = (
    "You are a helpful assistant who answers in one short sentence.",
    "What is the capital of France? The capital of France is Paris.",
    "Which colour has the sky on a clear day? It is blue, and red in the evening.",
    "Sort this ticket into billing, bug, or question: I was charged twice for the same order.",
    '{"name": "get_weather", "arguments": {"city": "Paris", "unit": "celsius"}}',
    "def add(a, b):\n    return a + b\n",
)
"""What the tokenizer is trained on: enough for pairs to merge, while every other byte remains a token."""

CHATML = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""The usual template, without tools, as SmolLM2's."""

CHATML_TOOLS = (
    "{%- if tools %}{{- '<|im_start|>tools\\n' }}"
    "{%- for tool in tools %}{{- tool | tojson + '\\n' }}{%- endfor %}{{- '<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['content'] %}{{- message['content'] }}{%- endif %}"
    "{%- for call in message['tool_calls'] or [] %}"
    "{{- '<tool_call>\\n' + {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}"
    "{{- '\\n</tool_call>' }}{%- endfor %}"
    "{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""The same with tools, whose calls are written as Qwen's and Hermes's models write them."""


def write_model(folder: Path, *, seed: int, template: str = CHATML, context: int = CONTEXT) -> Path:
    """Write a model in Hugging Face layout, as one is downloaded. The same seed gives the same weights."""
    tokenizer = make_tokenizer(template, context=context)
    tokenizer.save_pretrained(folder)
    make_weights(tokenizer, seed=seed, context=context).save_pretrained(folder)
    return folder


def make_tokenizer(template: str, *, context: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that can encode any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

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
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BEGIN,
        eos_token=END,
        unk_token=UNKNOWN,
        pad_token=PAD,
        chat_template=template,
        model_max_length=context,
    )


def make_weights(tokenizer: PreTrainedTokenizerFast, *, seed: int, context: int) -> LlamaForCausalLM:
    """A Llama of two layers with random weights, which depend on the seed alone."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        max_position_embeddings=context,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def write_gguf(source: Path, target: Path) -> Path:
    """Write the model in `source` as one GGUF file with float32 weights, tokenizer and chat template included."""
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((source / "config.json").read_text("utf-8"))
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_name(source.name)
    writer.add_license("apache-2.0")
    writer.add_block_count(LAYERS)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_rope_dimension_count(config["hidden_size"] // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    _add_tokenizer(writer, source)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, LAYERS)
    for name, weights in load_file(source / "model.safetensors").items():
        heads = {"q_proj": HEADS, "k_proj": KEY_VALUE_HEADS}.get(name.split(".")[-2])
        if heads:  # GGUF interleaves the two halves of each head
            halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, weights.shape[1])
            weights = halves.swapaxes(1, 2).reshape(weights.shape)
        writer.add_tensor(names.get_name(name, (".weight",)), weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _add_tokenizer(writer: Any, source: Path) -> None:
    import gguf

    described = json.loads((source / "tokenizer.json").read_text("utf-8"))["model"]
    by_number = sorted(described["vocab"], key=described["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(by_number)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control if token in SPECIAL else normal for token in by_number])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in described["merges"]])
    writer.add_bos_token_id(by_number.index(BEGIN))
    writer.add_eos_token_id(by_number.index(END))
    writer.add_unk_token_id(by_number.index(UNKNOWN))
    writer.add_pad_token_id(by_number.index(PAD))
    writer.add_add_bos_token(False)
    writer.add_chat_template((source / "chat_template.jinja").read_text("utf-8"))
