"""The engine `transformers`: base models out of a folder, trained by TRL, and asked in this process."""

import importlib
import importlib.util
import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ...examples import BadRow
from ..port import Base, DataFacts, JobSettings, Method, Model, Recorder, Refused, Rows, Work
from .hyperparameters import check_method, learning_rate, lora_of
from .memory import check_memory, check_targets, gpu_bytes, machine_bytes
from .models_folder import Models, find_models

SERVING_SHARE = 0.5
"""The part of the GPU's memory, or of the machine's without one, that models in memory may take."""
METHODS: tuple[Method, ...] = ("supervised", "dpo")
_log = logging.getLogger("trainer")


class LlmEngine:
    """See `trainer.engines.port.Engine`. `cache` has what is derived from the models. torch is imported when needed.

    Models in memory and running answers take at most `serving_bytes`, 0 for `SERVING_SHARE`.
    """

    name = "transformers"

    def __init__(self, models_dir: Path, cache: Path, *, serving_bytes: int = 0) -> None:
        self._models_dir, self._cache, self._serving_bytes = models_dir, cache, serving_bytes

    @cached_property
    def models(self) -> Models:
        """What is in the models folder, read once a process. Raises Refused when it does not exist."""
        return find_models(self._models_dir)

    def prepare(self) -> None:
        if not self.models.usable:
            reasons = "; ".join(self.models.unusable.values()) or "it is empty"
            raise Refused(None, f"The models folder {self._models_dir} has no model that can be used: {reasons}")
        for reason in self.models.unusable.values():
            _log.warning("a model is left out: %s", reason)
        for base in self.models.usable.values():
            if base.gguf is not None:  # converted now, as the gateway counts by the converted tokenizer
                if importlib.util.find_spec("torch") is None:
                    raise Refused(
                        None,
                        f"{base.gguf} must be converted, for which this server needs the extra llm: install it, or put "
                        "the model there in Hugging Face layout",
                    )
                self._module("conversion").layout(base, self._cache)

    def bases(self) -> Sequence[Base]:
        return [
            Base(
                name=base.name,
                methods=METHODS,
                context_tokens=base.context_tokens,
                learning_rate=learning_rate(base, None, "supervised", 1.0),
                license=base.license,
                tokenizer_sha256=base.tokenizer_sha256,
            )
            for base in self.models.usable.values()
        ]

    def check(self, settings: JobSettings) -> None:
        base = self.models.find(settings.base)
        check_method(settings)
        lora = lora_of(settings.adapter)
        if lora is not None:
            check_targets(base, lora)
        if (os.environ.get("TRAINER_LAUNCHER") or "local") == "local":
            check_memory(base, lora, settings.method)

    def validate(self, settings: JobSettings, rows: Rows) -> DataFacts:
        base = self.models.find(settings.base)
        encode_row, encoder = self._module("batches").encode_row, self._module("training").encoder_of(base, self._cache)
        tokens = truncated = learning = 0
        for row in range(len(rows)):
            encoded = encode_row(rows, row, encoder)
            tokens += encoded.tokens
            truncated += encoded.truncated
            learning += encoded.learns
        if not learning:
            raise BadRow(
                0, f"No answer is left: each begins behind the model's {base.context_tokens:,} tokens. Shorten them"
            )
        return DataFacts(tokens, truncated)

    def train(self, work: Work, recorder: Recorder) -> None:
        self._module("training").train(self.models.find(work.settings.base), work, recorder, self._cache)

    def load(self, base: str, weights: Path | None) -> Model:
        model: Model = self._serving.load(self.models.find(base), weights)
        return model

    @cached_property
    def _serving(self) -> Any:
        memory = self._serving_bytes or int(SERVING_SHARE * (gpu_bytes() or machine_bytes()))
        return self._module("serving").Serving(self._cache, memory_bytes=memory)

    def _module(self, name: str) -> Any:
        """A module of this package that imports torch, which leaves a folder among the temporary files by default."""
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(self._cache / "torchinductor"))
        return importlib.import_module(f"{__package__}.{name}")
