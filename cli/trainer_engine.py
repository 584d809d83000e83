"""The trainer's engine in a dev stack: the byte model, or language models out of a folder, checked before any start."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cli.environment import external_upstream
from service.errors import SettingsError

EngineName = Literal["bytemodel", "transformers"]
MODELS_FILE = "models.toml"


@dataclass(frozen=True, kw_only=True)
class TrainerEngine:
    """An engine, and its folder of base models: None for the byte model, which has none."""

    name: EngineName = "bytemodel"
    models: Path | None = None

    def variables(self) -> dict[str, str]:
        """The trainer's settings for it."""
        return {"TRAINER_ENGINE": self.name} | ({"TRAINER_MODELS_DIR": str(self.models)} if self.models else {})

    def write_models_file(self, data_dir: Path) -> Path | None:
        """Write the gateway's models file for the folder, which includes the trainer's conversions of GGUF files.

        Returns its path, or None for the byte model, which stands in for the models of the shipped catalogue.
        """
        if self.models is None:
            return None
        file = data_dir / MODELS_FILE
        converted = data_dir / "trainer" / "engine"
        file.write_text(f"folder = {_toml(self.models)}\nconverted = {_toml(converted)}\n", encoding="utf-8")
        return file


BYTE_MODEL = TrainerEngine()


def chosen_engine(environ: Mapping[str, str], *, engine: str | None, models: Path | None) -> TrainerEngine:
    """The engine that the options or the trainer's settings choose, once it is known that it can start.

    Raises SettingsError for options that contradict each other, an extra that is not installed, or a folder without a
    usable model.
    """
    name = engine or environ.get("TRAINER_ENGINE") or ("transformers" if models else "bytemodel")
    if name == "bytemodel":
        if models is not None:
            raise SettingsError("--models is for --engine transformers; the byte model has no models folder.")
        return BYTE_MODEL
    if external_upstream(environ) is not None:
        raise SettingsError(
            f"--engine {name} is for the trainer, but OPENAI_BASE_URL and OPENAI_API_KEY select another upstream. "
            "Unset them: env -u OPENAI_BASE_URL tunegate dev …"
        )
    folder = models or (Path(environ["TRAINER_MODELS_DIR"]) if environ.get("TRAINER_MODELS_DIR") else None)
    return _transformers(name, folder.absolute() if folder else None)


def _transformers(name: str, folder: Path | None) -> TrainerEngine:
    from trainer.engines.choice import make_engine  # imports numpy, which the byte model's server alone needs
    from trainer.engines.llm.models_folder import find_models
    from trainer.engines.port import Refused

    try:
        make_engine(name, cache_dir=Path(), models_dir=folder)
        assert folder is not None  # or the engine would have been refused
        found = find_models(folder)
    except Refused as refused:
        raise SettingsError(str(refused)) from None
    if not found.usable:
        reasons = "; ".join(found.unusable.values()) or "it is empty"
        raise SettingsError(f"The models folder {folder} has no model that can be used: {reasons}")
    return TrainerEngine(name="transformers", models=folder)


def _toml(path: Path) -> str:
    """A TOML string, whose escapes are those of JSON."""
    return json.dumps(str(path), ensure_ascii=False)
