"""Base models are found without torch, and a folder that is none is refused with what to do."""

import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.engines.llm.engine import LlmEngine
from trainer.engines.llm.hyperparameters import FULL_RATE, LORA_RATE, learning_rate
from trainer.engines.llm.models_folder import BaseFolder, find_models, read_base
from trainer.engines.port import Adapter, Refused

TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


def write_model(folder: Path, *, without: str = "", **config: Any) -> Path:
    folder.mkdir(parents=True)
    known = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 4096}
    files = {
        "config.json": json.dumps(known | config),
        "model.safetensors": "",
        "tokenizer.json": "{}",
        "tokenizer_config.json": json.dumps({"model_max_length": 10**30}),
        "chat_template.jinja": TEMPLATE,
    }
    for name, content in files.items():
        if name != without:
            (folder / name).write_text(content)
    return folder


def gguf(**keys: int | str | list[str]) -> bytes:
    content = struct.pack("<4sIQQ", b"GGUF", 3, 0, len(keys))
    for name, value in keys.items():
        content += _text(name.replace("__", "."))
        if isinstance(value, str):
            content += struct.pack("<I", 8) + _text(value)
        elif isinstance(value, list):
            content += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_text, value))
        else:
            content += struct.pack("<II", 4, value)
    return content


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _refusal(path: Path) -> str:
    with pytest.raises(Refused) as refused:
        read_base(path)
    return str(refused.value)


def test_hugging_face_layout(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "small")
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n")
    base = read_base(folder)
    assert (base.name, base.context_tokens, base.license, base.gguf) == ("small", 4096, "apache-2.0", None)
    assert base.chat_template == TEMPLATE
    assert base.tokenizer_sha256 is not None


def test_tokenizer_may_shorten_the_context(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "small")
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 2048}))
    assert read_base(folder).context_tokens == 2048


def test_named_templates(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "small", without="chat_template.jinja")
    named = [{"name": "rag", "template": "no"}, {"name": "default", "template": TEMPLATE}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert read_base(folder).chat_template == TEMPLATE


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("config.json", "neither config.json"),
        ("model.safetensors", "no weights"),
        ("tokenizer.json", "no tokenizer"),
        ("chat_template.jinja", "no chat template"),
    ],
)
def test_missing_file(tmp_path: Path, missing: str, words: str) -> None:
    refusal = _refusal(write_model(tmp_path / "small", without=missing))
    assert words in refusal
    assert str(tmp_path / "small") in refusal


def test_model_that_does_not_generate(tmp_path: Path) -> None:
    assert "BertModel" in _refusal(write_model(tmp_path / "bert", architectures=["BertModel"]))
    assert "no causal" in _refusal(write_model(tmp_path / "t5", is_encoder_decoder=True))


@pytest.mark.parametrize("content", ["{", '{"a":' * 100_000 + "1" + "}" * 100_000], ids=["cut", "deep"])
def test_damaged_config(tmp_path: Path, content: str) -> None:
    folder = write_model(tmp_path / "small")
    (folder / "config.json").write_text(content)
    assert "cannot be read" in _refusal(folder)


@pytest.mark.parametrize("length", [None, 0, -5])
def test_config_without_context(tmp_path: Path, length: int | None) -> None:
    assert "max_position_embeddings" in _refusal(write_model(tmp_path / "small", max_position_embeddings=length))


def _gguf_folder(path: Path, content: bytes) -> Path:
    path.mkdir()
    (path / "model.gguf").write_bytes(content)
    return path


FULL: dict[str, int | str | list[str]] = {
    "general__architecture": "llama",
    "general__license": "mit",
    "tokenizer__ggml__tokens": ["a", "bc"],
    "llama__context_length": 8192,
    "tokenizer__chat_template": TEMPLATE,
}


def test_gguf(tmp_path: Path) -> None:
    base = read_base(_gguf_folder(tmp_path / "small", gguf(**FULL)))
    assert (base.name, base.context_tokens, base.license) == ("small", 8192, "mit")
    assert base.gguf == tmp_path / "small" / "model.gguf"
    assert base.tokenizer_sha256 is None


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("tokenizer__ggml__tokens", "no tokenizer"),
        ("tokenizer__chat_template", "no chat template"),
        ("llama__context_length", "context length"),
    ],
)
def test_incomplete_gguf(tmp_path: Path, without: str, words: str) -> None:
    keys = {name: value for name, value in FULL.items() if name != without}
    assert words in _refusal(_gguf_folder(tmp_path / "small", gguf(**keys)))


_KEY = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + _text("k")
_LIST_OF_LISTS = struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 50_000
_LONG_TEXT = struct.pack("<IIQQ", 9, 8, 2**50, 2**64 - 1)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"PK\3\4", gguf(**FULL)[:-20], gguf(**FULL)[:30]),
        *(_KEY + _LIST_OF_LISTS, _KEY + _LONG_TEXT, struct.pack("<4sIQQ", b"GGUF", 3, 2**60, 0)),
    ],
)
def test_damaged_gguf(tmp_path: Path, content: bytes) -> None:
    assert "Download it again" in _refusal(_gguf_folder(tmp_path / "small", content))


def test_two_gguf_files(tmp_path: Path) -> None:
    folder = _gguf_folder(tmp_path / "small", gguf(**FULL))
    (folder / "other.gguf").write_bytes(gguf(**FULL))
    assert "2 GGUF files" in _refusal(folder)


class TestModelsFolder:
    def test_unusable_model_is_refused_with_its_reason(self, tmp_path: Path) -> None:
        write_model(tmp_path / "good")
        write_model(tmp_path / "bad", without="tokenizer.json")
        models = find_models(tmp_path)
        assert list(models.usable) == ["good"]
        with pytest.raises(Refused, match="no tokenizer"):
            models.find("bad")
        with pytest.raises(Refused, match="there are: good"):
            models.find("other")

    def test_unusable_model_is_named_in_the_log_when_the_server_starts(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_model(tmp_path / "models" / "good")
        write_model(tmp_path / "models" / "bad", without="tokenizer.json")
        LlmEngine(tmp_path / "models", tmp_path / "cache").prepare()
        assert "bad has no tokenizer: tokenizer.json is missing" in caplog.text

    def test_gguf_cannot_be_converted_by_a_server_without_torch(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        (tmp_path / "models").mkdir()
        _gguf_folder(tmp_path / "models" / "small", gguf(**FULL))
        with pytest.raises(Refused, match="needs the extra llm"):
            LlmEngine(tmp_path / "models", tmp_path / "cache").prepare()

    def test_models_file_may_shorten_the_context(self, tmp_path: Path) -> None:
        write_model(tmp_path / "small")
        assert self._with_file(tmp_path, "max_tokens = 1024\nlearning_rate = 5e-5\nlicense = 'mit'") == (
            1024,
            5e-5,
            "mit",
        )
        assert self._with_file(tmp_path, "max_tokens = 9999999") == (4096, None, None)

    @pytest.mark.parametrize(
        ("rate", "lora", "full"),
        [
            ("5e-5", 5e-5, FULL_RATE),
            ("{ full = 3e-6 }", LORA_RATE, 3e-6),
            ("{ lora = 1e-3, full = 3e-6 }", 1e-3, 3e-6),
        ],
    )
    def test_a_learning_rate_is_of_lora_or_a_table_with_one_for_all_weights(
        self, tmp_path: Path, rate: str, lora: float, full: float
    ) -> None:
        write_model(tmp_path / "small")
        (tmp_path / "models.toml").write_text(f"[[models]]\nname = 'small'\nlearning_rate = {rate}\n")
        base = find_models(tmp_path).find("small")
        assert learning_rate(base, None, "supervised", 1.0) == lora
        assert learning_rate(base, Adapter(type="full"), "supervised", 2.0) == 2 * full

    @pytest.mark.parametrize("rate", ["2", "2.0", "-1e-4", "'fast'", "{ full = 0.0 }", "[1e-4]"])
    def test_a_learning_rate_that_is_none_is_refused(self, tmp_path: Path, rate: str) -> None:
        write_model(tmp_path / "small")
        (tmp_path / "models.toml").write_text(f"[[models]]\nname = 'small'\nlearning_rate = {rate}\n")
        with pytest.raises(Refused, match=r"models\.toml: the learning_rate of small must be between 0 and 1"):
            find_models(tmp_path).find("small")

    def _with_file(self, folder: Path, fields: str) -> tuple[int, float | None, str | None]:
        (folder / "models.toml").write_text(f"[[models]]\nname = 'small'\n{fields}\n")
        base: BaseFolder = find_models(folder).find("small")
        return base.context_tokens, base.learning_rate, base.license

    def test_one_that_cannot_be_read_leaves_the_others_usable(self, tmp_path: Path) -> None:
        write_model(tmp_path / "good")
        bad = write_model(tmp_path / "bad", architectures=5)
        (bad / "chat_template.jinja").write_bytes(b"\xff")
        models = find_models(tmp_path)
        assert list(models.usable) == ["good"]
        assert str(bad) in models.unusable["bad"]

    @pytest.mark.parametrize("value", ["0", "'5'"])
    def test_models_file_with_a_wrong_context(self, tmp_path: Path, value: str) -> None:
        write_model(tmp_path / "small")
        with pytest.raises(Refused, match=r"models\.toml: the max_tokens of small must be at least 1"):
            self._with_file(tmp_path, f"max_tokens = {value}")

    @pytest.mark.parametrize("content", ["[[models", "models = 5", "a = " + "[" * 2_000], ids=["cut", "number", "deep"])
    def test_models_file_that_is_no_toml(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "models.toml").write_text(content)
        with pytest.raises(Refused, match=r"models\.toml cannot be read"):
            find_models(tmp_path)

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(Refused, match="TRAINER_MODELS_DIR"):
            find_models(tmp_path / "nowhere")
