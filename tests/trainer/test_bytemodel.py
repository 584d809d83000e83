"""The byte model passes the suite of every engine."""

from pathlib import Path

import pytest

from trainer.engines.bytemodel.engine import ByteEngine
from trainer.engines.port import Adapter, Engine, JobSettings, Refused

from .engine_suite import EngineSuite


@pytest.fixture(scope="module")
def engine(base_weights: Path) -> Engine:
    made = ByteEngine(base_weights)
    made.prepare()
    return made


class TestByteEngine(EngineSuite):
    def test_refuses_an_adapter_and_says_which_engine_has_them(self, engine: Engine, base: str) -> None:
        settings = JobSettings(base=base, method="supervised", seed=1, adapter=Adapter(rank=4), continues=False)
        with pytest.raises(Refused, match="--engine transformers") as refused:
            engine.check(settings)
        assert (refused.value.param, refused.value.code) == ("adapter", "unsupported_adapter")
