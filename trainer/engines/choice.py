"""The one place that chooses an engine."""

import importlib
import importlib.util
from pathlib import Path

from .bytemodel.engine import ByteEngine
from .port import Engine, Refused

ENGINES = ("bytemodel", "transformers")
_EXTRA = ("torch", "transformers", "trl", "peft", "accelerate")


def make_engine(
    name: str, *, cache_dir: Path, models_dir: Path | None, serving_bytes: int = 0, computes: bool = True
) -> Engine:
    """The engine of that name; `prepare` it before use. `cache_dir` is a folder of its own for what it derives.

    Models in memory take at most `serving_bytes`, 0 for a part of what the machine has. A server whose models are
    trained and served elsewhere does not compute, and needs no extra.
    Raises Refused for an unknown name, an extra that is not installed, or a missing folder of models.
    """
    if name == "bytemodel":
        return ByteEngine(cache_dir)
    if name != "transformers":
        raise Refused(None, f"There is no engine {name!r}: TRAINER_ENGINE is one of {', '.join(ENGINES)}.")
    missing = [module for module in _EXTRA if importlib.util.find_spec(module) is None]
    if missing and computes:
        raise Refused(
            None, f"The engine transformers needs {', '.join(missing)}: install it by pip install 'tunegate[llm]'."
        )
    if models_dir is None:
        raise Refused(None, "The engine transformers needs a folder of models: set TRAINER_MODELS_DIR or --models.")
    module = importlib.import_module("trainer.engines.llm.engine")
    engine: Engine = module.LlmEngine(models_dir, cache_dir, serving_bytes=serving_bytes)
    return engine
