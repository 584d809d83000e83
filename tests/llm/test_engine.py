"""The engine `transformers` passes the suite of every engine."""

from pathlib import Path

import pytest

from tests.trainer.engine_suite import EngineSuite
from trainer.engines.llm.engine import LlmEngine
from trainer.engines.port import Engine


@pytest.fixture(scope="module")
def engine(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    made = LlmEngine(models_dir, tmp_path_factory.mktemp("cache"))
    made.prepare()
    return made


class TestLlmEngine(EngineSuite):
    rate = 100.0
