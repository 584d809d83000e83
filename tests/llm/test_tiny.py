"""The tiny models are what the other tests take them for."""

import json
from pathlib import Path
from typing import Any

import pytest


def _load(folder: Path, **more: Any) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, **more)
    return tokenizer, AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype="float32", **more)


def test_folder_has_files_of_a_download(tiny_llama: Path) -> None:
    names = {path.name for path in tiny_llama.iterdir()}
    assert {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"} <= names
    assert json.loads((tiny_llama / "config.json").read_text())["model_type"] == "llama"


def test_every_text_survives_the_tokenizer(tiny_llama: Path) -> None:
    tokenizer, _ = _load(tiny_llama)
    text = "Grüße, 你好 <b>\n\t🙂"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert 300 <= len(tokenizer) <= 1000


def test_chat_template_closes_each_message(tiny_llama: Path, tiny_tools: Path) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    expected = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
    for folder in (tiny_llama, tiny_tools):
        tokenizer, _ = _load(folder)
        assert tokenizer.apply_chat_template(messages, tokenize=False) == expected


def test_template_with_tools_renders_calls(tiny_tools: Path) -> None:
    tokenizer, _ = _load(tiny_tools)
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    messages = [{"role": "user", "content": "Add"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    tools = [{"type": "function", "function": {"name": "add"}}]
    text = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
    assert '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>' in text
    assert text.startswith('<|im_start|>tools\n{"type": "function"')


def test_gguf_has_the_same_tokens_and_figures(tiny_llama: Path, gguf_dir: Path) -> None:
    import torch

    tokenizer, model = _load(tiny_llama)
    folder = gguf_dir / "tiny-gguf"
    (file,) = folder.glob("*.gguf")
    other_tokenizer, other = _load(folder, gguf_file=file.name)
    text = "<|im_start|>user\nIs the sky blue?<|im_end|>"
    tokens = tokenizer(text, return_tensors="pt")["input_ids"]
    assert torch.equal(tokens, other_tokenizer(text, return_tensors="pt")["input_ids"])
    assert other_tokenizer.chat_template == tokenizer.chat_template
    assert other_tokenizer.eos_token == tokenizer.eos_token
    with torch.no_grad():
        torch.testing.assert_close(model(tokens).logits, other(tokens).logits, rtol=0, atol=1e-5)


def test_two_models_differ(tiny_llama: Path, tiny_tools: Path) -> None:
    import torch

    first, second = _load(tiny_llama)[1], _load(tiny_tools)[1]
    with pytest.raises(AssertionError):
        torch.testing.assert_close(first.lm_head.weight, second.lm_head.weight)
