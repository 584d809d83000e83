"""The base models: encodings, limits, prices by date, and shutdown dates by provider.

The shipped catalogue is `catalogue.toml`; `TUNEGATE_MODELS_FILE` replaces it (`models_file.py`). The functions take the
date and the provider as arguments.
"""

import datetime as dt
from typing import Annotated, Literal

import msgspec

TrainingMethod = Literal["supervised", "dpo", "reinforcement"]
DatasetFormat = Literal["chat", "completion", "preference", "reinforcement"]
Modality = Literal["text", "image"]
Micros = Annotated[int, msgspec.Meta(ge=0)]


class TrainingPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """The price of training from the day `since` on: micro-dollars per million tokens, per hour, or per GPU-second."""

    since: dt.date
    micros: Micros
    source: str


class InferencePrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """The price of inference from the day `since` on: micro-dollars per million tokens."""

    since: dt.date
    input_micros: Micros
    output_micros: Micros
    source: str


class Shutdown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's shutdown dates: the last day on which it accepts new jobs, and the day on which the model stops."""

    no_new_jobs: dt.date
    stops: dt.date


class LearningRates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a `learning_rate_multiplier` of 1 means by the kind of training; None for the trainer's default."""

    lora: float | None = None
    full: float | None = None


class Overhead(msgspec.Struct, frozen=True):
    """The tokens that a chat template adds to the texts of a prompt: to each prompt, message, and list of tools."""

    prompt: int
    message: int
    tools: int


class BaseModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that can be trained. docs/models.md describes each field as the models file has it.

    `encoding` names what counts its tokens: a shipped encoding, or for an open model, whose tokenizer is at the path
    `tokenizer`, a name that `models_file` gives it. `inference` is the price of using models tuned from it,
    `base_inference` the price of using the base model itself. Training has a price by the token (`training`), by the
    hour or by the GPU-second, or none.
    """

    name: str
    aliases: tuple[str, ...] = ()
    encoding: str = ""
    tokenizer: str = ""
    tokenizer_sha256: str | None = None
    overhead: Overhead | None = None
    max_tokens: int
    max_output_tokens: int = 16_384
    license: str | None = None
    learning_rate: float | LearningRates | None = None
    modalities: tuple[Modality, ...] = ("text",)
    tools: bool = True
    methods: tuple[TrainingMethod, ...]
    formats: tuple[DatasetFormat, ...]
    providers: tuple[str, ...] = ()
    training: tuple[TrainingPrice, ...] = ()
    training_hour: tuple[TrainingPrice, ...] = ()
    training_gpu_second: tuple[TrainingPrice, ...] = ()
    tokens_per_gpu_second: Annotated[float, msgspec.Meta(gt=0)] | None = None
    inference: tuple[InferencePrice, ...] = ()
    base_inference: tuple[InferencePrice, ...] = ()
    shutdown: dict[str, Shutdown] = {}

    @property
    def is_open(self) -> bool:
        """Whether its weights are a folder that an own trainer serves, with a tokenizer that the gateway can read."""
        return bool(self.tokenizer)

    @property
    def learning_rates(self) -> LearningRates:
        """The learning rates of multiplier 1. A plain number is LoRA's: all weights take a far smaller one."""
        rate = self.learning_rate
        return rate if isinstance(rate, LearningRates) else LearningRates(lora=rate)

    def training_micros(self, on: dt.date) -> int | None:
        """Micro-dollars per million trained tokens on a day; None if training is not billed by the token."""
        current = [price for price in self.training if price.since <= on]
        return max(current, key=lambda price: price.since).micros if current else None

    def shutdown_at(self, provider: str) -> Shutdown | None:
        """The shutdown that a provider has announced for the model, or None."""
        return self.shutdown.get(provider)

    def trainable(self, provider: str, on: dt.date) -> bool:
        """Whether a provider accepts new training jobs for the model on a day."""
        if self.providers and provider not in self.providers:
            return False
        shutdown = self.shutdown_at(provider)
        return shutdown is None or on <= shutdown.no_new_jobs


class Catalogue:
    """All base models, found by name or alias. `default_model` is one of these names."""

    def __init__(self, default_model: str, models: tuple[BaseModel, ...]) -> None:
        self.models = models
        self._by_name = {name: model for model in models for name in (model.name, *model.aliases)}
        self.default = self._by_name[default_model]

    def find(self, name: str) -> BaseModel | None:
        """The base model with a name or alias, or None."""
        return self._by_name.get(name)

    def names(self) -> list[str]:
        """Every name and alias, in the order of the catalogue file."""
        return list(self._by_name)

    def names_of(self, name: str) -> list[str]:
        """All names of the base model that has this one; only this one if no model has it."""
        model = self.find(name)
        return [name] if model is None else [model.name, *model.aliases]

    def trainable_names(self, provider: str, on: dt.date) -> list[str]:
        """The names and aliases that a new job can use on a day, for error messages."""
        return [name for name, model in self._by_name.items() if model.trainable(provider, on)]


def provider_of(base_url: str) -> str:
    """The provider whose shutdown dates apply at a base URL: `openai` for OpenAI itself, else `self-hosted`."""
    return "openai" if "://api.openai.com" in base_url else "self-hosted"
