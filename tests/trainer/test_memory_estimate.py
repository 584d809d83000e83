"""What a training needs is estimated from the headers of a model's files, and refused before a job is accepted."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.test_models_folder import write_model
from trainer.engines.llm.engine import LlmEngine
from trainer.engines.llm.hyperparameters import Lora, lora_of
from trainer.engines.llm.memory import check_memory, check_targets, estimate_bytes, lora_parameters
from trainer.engines.llm.models_folder import BaseFolder, read_base
from trainer.engines.llm.weight_shapes import read_shapes
from trainer.engines.port import Adapter, JobSettings, Refused

GB = 10**9


def write_llama(folder: Path, *, hidden: int, inner: int, layers: int, vocabulary: int) -> BaseFolder:
    """A model of which only the headers exist: no weight is ever read here."""
    shapes = {"model.embed_tokens.weight": [vocabulary, hidden], "model.norm.weight": [hidden]}
    for layer in range(layers):
        block = f"model.layers.{layer}"
        shapes |= {f"{block}.self_attn.{name}_proj.weight": [hidden, hidden] for name in "qkvo"}
        shapes |= {f"{block}.mlp.{name}_proj.weight": [inner, hidden] for name in ("gate", "up")}
        shapes |= {f"{block}.mlp.down_proj.weight": [hidden, inner], f"{block}.input_layernorm.weight": [hidden]}
    header = json.dumps({name: {"dtype": "BF16", "shape": shape} for name, shape in shapes.items()}).encode()
    write_model(folder)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return read_base(folder)


def lora(**more: Any) -> Lora:
    made = lora_of(Adapter(**more))
    assert made is not None
    return made


@pytest.fixture
def seven_billion(tmp_path: Path) -> BaseFolder:
    """Llama 2 7B's shapes, with tied embeddings."""
    return write_llama(tmp_path / "seven", hidden=4096, inner=11008, layers=32, vocabulary=32000)


def test_shapes(seven_billion: BaseFolder) -> None:
    shapes = read_shapes(seven_billion)
    assert shapes.parameters == pytest.approx(6.6e9, rel=0.01)
    assert (shapes.hidden, shapes.layers, len(shapes.linear)) == (4096, 32, 32 * 7)


def test_adapter_of_all_linear_layers(seven_billion: BaseFolder) -> None:
    """PEFT reports 39,976,960 trainable parameters for Llama 2 7B with rank 16 on all linear layers."""
    shapes = read_shapes(seven_billion)
    assert lora_parameters(shapes, lora(rank=16)) == 39_976_960
    assert lora_parameters(shapes, lora(rank=16, targets=("q_proj", "v_proj"))) == 8_388_608


def test_methods_and_precisions_differ(seven_billion: BaseFolder) -> None:
    shapes = read_shapes(seven_billion)
    on_cuda = estimate_bytes(shapes, lora(), "supervised", value_bytes=2)
    assert on_cuda == pytest.approx(15.4 * GB, rel=0.05)
    assert estimate_bytes(shapes, lora(), "supervised", value_bytes=4) > 1.8 * on_cuda
    assert estimate_bytes(shapes, lora(), "dpo", value_bytes=2) < 1.1 * on_cuda
    full = estimate_bytes(shapes, None, "supervised", value_bytes=2)
    assert full == pytest.approx(107 * GB, rel=0.05)
    assert estimate_bytes(shapes, None, "dpo", value_bytes=2) > full + 13 * GB


def test_too_large_for_this_machine(tmp_path: Path) -> None:
    """A machine that trains this one has memory for ten million billion weights."""
    base = write_llama(tmp_path / "models" / "vast", hidden=1 << 20, inner=1 << 22, layers=500, vocabulary=1 << 20)
    settings = JobSettings(base="vast", method="supervised", seed=1, adapter=None, continues=False)
    with pytest.raises(Refused, match=r"an adapter of rank 16 of vast takes about .* GB; this machine's"):
        LlmEngine(tmp_path / "models", tmp_path).check(settings)
    with pytest.raises(Refused, match=r"adapter\.type 'lora'"):
        check_memory(base, None, "supervised")


def test_memory_of_another_machine_is_not_judged_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_llama(tmp_path / "models" / "vast", hidden=1 << 20, inner=1 << 22, layers=500, vocabulary=1 << 20)
    monkeypatch.setenv("TRAINER_LAUNCHER", "ray")
    settings = JobSettings(base="vast", method="supervised", seed=1, adapter=None, continues=False)
    LlmEngine(tmp_path / "models", tmp_path).check(settings)


def test_targets_that_the_model_does_not_have(seven_billion: BaseFolder) -> None:
    check_targets(seven_billion, lora(targets=("q_proj", "down_proj")))
    with pytest.raises(Refused, match=r"names c_attn, which .* has down_proj, gate_proj, k_proj"):
        check_targets(seven_billion, lora(targets=("q_proj", "c_attn")))


class TestEngine:
    def test_folder_without_a_usable_model(self, tmp_path: Path) -> None:
        write_model(tmp_path / "models" / "bad", without="tokenizer.json")
        with pytest.raises(Refused, match=r"no model that can be used.*no tokenizer"):
            LlmEngine(tmp_path / "models", tmp_path).prepare()

    def test_bases_say_what_a_multiplier_of_1_means(self, tmp_path: Path) -> None:
        write_model(tmp_path / "models" / "small")
        (tmp_path / "models" / "models.toml").write_text("[[models]]\nname = 'small'\nlearning_rate = 1e-5\n")
        (base,) = LlmEngine(tmp_path / "models", tmp_path).bases()
        assert (base.name, base.learning_rate, base.context_tokens) == ("small", 1e-5, 4096)
