"""A reservation for a call to an open model covers what its chat template adds."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.catalogue.models_file import load
from service.catalogue.open_models.tokenizer import load_tokenizer
from service.inference.bounds import CHAT, input_texts, template_tokens
from service.inference.token_counts import token_bound
from tests.catalogue.open_models import write_open_model
from tests.datasets.rows import chat, message, tool
from tests.llm.tiny import CHATML_TOOLS

PREAMBLE = "{{- 'You are a model with a long system prompt of its own, which nobody sends.\n' * 20 }}" + CHATML_TOOLS


@pytest.mark.parametrize(
    "body",
    [
        chat(message("user", "")),
        chat(*[message(("user", "assistant")[number % 2], "") for number in range(40)]),
        chat(message("user", "Hi"), tools=[tool(), tool("other")]),
    ],
)
def test_a_token_a_byte_and_the_overhead_are_an_upper_bound(tmp_path: Path, body: dict[str, Any]) -> None:
    """Without the overhead an empty question would reserve less than the template's own system prompt."""
    folder = write_open_model(tmp_path / "tiny", template=PREAMBLE)
    model = load(str(tmp_path), with_tokenizers=True).default
    texts, others = input_texts(body, path=CHAT)
    tokenizer = load_tokenizer(folder)
    read = tokenizer.count(tokenizer.rendering.text(body["messages"], body.get("tools", ()), prompt=True))
    assert token_bound(texts) + others < read
    assert token_bound(texts) + others + template_tokens(body, model) >= read
    assert template_tokens(json.loads("{}"), model) == 0
