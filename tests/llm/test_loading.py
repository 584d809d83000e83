"""Models are loaded from folders; a GGUF file is converted once, and never half."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer.engines.llm import conversion
from trainer.engines.llm.loading import load_base, load_tokenizer
from trainer.engines.llm.models_folder import find_models
from trainer.engines.port import Refused


def test_hugging_face_layout_is_loaded_where_it_lies(models_dir: Path, tmp_path: Path) -> None:
    base = find_models(models_dir).find("tiny-llama")
    assert conversion.layout(base, tmp_path) == base.path
    assert load_base(base, tmp_path).config.model_type == "llama"
    assert load_tokenizer(base, tmp_path).pad_token is not None
    assert not list(tmp_path.iterdir())


def test_gguf_gives_the_same_model(models_dir: Path, gguf_dir: Path, tmp_path: Path) -> None:
    import torch

    original = load_base(find_models(models_dir).find("tiny-llama"), tmp_path)
    base = find_models(gguf_dir).find("tiny-gguf")
    for _ in range(2):
        converted = load_base(base, tmp_path)
        tokens = torch.tensor([load_tokenizer(base, tmp_path)("The capital of France")["input_ids"]])
        torch.testing.assert_close(converted(tokens).logits, original(tokens).logits, rtol=0, atol=1e-5)


def test_gguf_is_converted_once(gguf_dir: Path, tmp_path: Path) -> None:
    base = find_models(gguf_dir).find("tiny-gguf")
    first = conversion.layout(base, tmp_path)
    written = (first / "model.safetensors").stat().st_mtime_ns
    assert conversion.layout(base, tmp_path) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == written


def test_newer_file_replaces_the_conversion(gguf_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "tiny-gguf"
    folder.mkdir(parents=True)
    (source,) = (gguf_dir / "tiny-gguf").glob("*.gguf")
    (folder / "model.gguf").write_bytes(source.read_bytes())
    base = find_models(tmp_path / "models").find("tiny-gguf")
    first = conversion.layout(base, tmp_path / "cache")
    os.utime(folder / "model.gguf", ns=(1, 1))
    second = conversion.layout(base, tmp_path / "cache")
    assert first != second
    assert not first.exists()


def test_killed_conversion_leaves_nothing_that_is_loaded(gguf_dir: Path, tmp_path: Path) -> None:
    base = find_models(gguf_dir).find("tiny-gguf")
    program = (
        "import sys; from pathlib import Path; from trainer.engines.llm import conversion, models_folder;"
        "conversion.layout(models_folder.find_models(Path(sys.argv[1])).find('tiny-gguf'), Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(gguf_dir), str(tmp_path)])
    while not list(tmp_path.glob(".*.partial")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert load_base(base, tmp_path).config.model_type == "llama"
    assert not list(tmp_path.glob(".*.partial"))


def test_too_little_disk(gguf_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(Refused, match="free some space"):
        conversion.layout(find_models(gguf_dir).find("tiny-gguf"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["conversion.lock"]


def test_model_that_transformers_does_not_know(models_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "strange"
    folder.mkdir()
    for path in (models_dir / "tiny-llama").iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "config.json").unlink()
    config = (models_dir / "tiny-llama" / "config.json").read_text().replace('"llama"', '"unheard-of"')
    (folder / "config.json").write_text(config)
    with pytest.raises(Refused, match="cannot be loaded"):
        load_base(find_models(tmp_path).find("strange"), tmp_path / "cache")
