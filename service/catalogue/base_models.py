"""The base models: encodings, limits, prices by date, and shutdown dates by provider.

The shipped catalogue is `catalogue.toml`; `TUNEGATE_MODELS_FILE` replaces it. The functions take the date and the
provider as arguments.
"""

import datetime as dt
from pathlib import Path

import msgspec

from service.errors import SettingsError

SHIPPED = Path(__file__).with_name("catalogue.toml")


class TrainingPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """The price of training from the day `since` on: micro-dollars per million tokens, or per hour."""

    since: dt.date
    micros: int
    source: str


class InferencePrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """The price of inference from the day `since` on: micro-dollars per million tokens."""

    since: dt.date
    input_micros: int
    output_micros: int
    source: str


class Shutdown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's shutdown dates: the last day on which it accepts new jobs, and the day on which the model stops."""

    no_new_jobs: dt.date
    stops: dt.date


class BaseModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that can be trained.

    `inference` is the price of using models tuned from it, `base_inference` the price of using the base model itself.
    """

    name: str
    aliases: tuple[str, ...] = ()
    encoding: str
    max_tokens: int
    max_output_tokens: int = 16_384
    methods: tuple[str, ...]
    formats: tuple[str, ...]
    training: tuple[TrainingPrice, ...] = ()
    training_hour: tuple[TrainingPrice, ...] = ()
    inference: tuple[InferencePrice, ...] = ()
    base_inference: tuple[InferencePrice, ...] = ()
    shutdown: dict[str, Shutdown] = {}

    def training_micros(self, on: dt.date) -> int | None:
        """Micro-dollars per million trained tokens on a day; None if training is not billed by the token."""
        current = [price for price in self.training if price.since <= on]
        return max(current, key=lambda price: price.since).micros if current else None

    def shutdown_at(self, provider: str) -> Shutdown | None:
        """The shutdown that a provider has announced for the model, or None."""
        return self.shutdown.get(provider)

    def trainable(self, provider: str, on: dt.date) -> bool:
        """Whether a provider accepts new training jobs for the model on a day."""
        shutdown = self.shutdown_at(provider)
        return shutdown is None or on <= shutdown.no_new_jobs


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    default_model: str
    models: tuple[BaseModel, ...]


class Catalogue:
    """All base models, found by name or alias."""

    def __init__(self, default_model: str, models: tuple[BaseModel, ...]) -> None:
        self.models = models
        self._by_name = {name: model for model in models for name in (model.name, *model.aliases)}
        if default_model not in self._by_name:
            raise SettingsError(f"The catalogue's default model {default_model!r} is not among its models.")
        self.default = self._by_name[default_model]

    def find(self, name: str) -> BaseModel | None:
        """The base model with a name or alias, or None."""
        return self._by_name.get(name)

    def names(self) -> list[str]:
        """Every name and alias, in the order of the catalogue file."""
        return list(self._by_name)

    def trainable_names(self, provider: str, on: dt.date) -> list[str]:
        """The names and aliases that a new job can use on a day, for error messages."""
        return [name for name, model in self._by_name.items() if model.trainable(provider, on)]


def load(path: str = "") -> Catalogue:
    """Loads the shipped catalogue, or the one at `path`. Raises SettingsError if it cannot be read or is invalid."""
    file = Path(path) if path else SHIPPED
    try:
        content = msgspec.toml.decode(file.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError(f"The catalogue of models {file.name} cannot be read: {error}") from None
    return Catalogue(content.default_model, content.models)


def provider_of(base_url: str) -> str:
    """The provider whose shutdown dates apply at a base URL: `openai` for OpenAI itself, else `self-hosted`."""
    return "openai" if "://api.openai.com" in base_url else "self-hosted"
