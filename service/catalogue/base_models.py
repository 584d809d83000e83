"""The base models: encodings, limits, prices by date, and shutdown dates by upstream.

Shipped as `catalogue.toml`; `TUNEGATE_MODELS_FILE` replaces it. Dates and the upstream's kind come in as arguments.
"""

import datetime as dt
from pathlib import Path

import msgspec

from service.errors import SettingsError

SHIPPED = Path(__file__).with_name("catalogue.toml")


class TrainingPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """What training costs from a day on: micro-dollars per million tokens, or per hour."""

    since: dt.date
    micros: int
    source: str


class InferencePrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """What asking a model costs from a day on: micro-dollars per million tokens."""

    since: dt.date
    input_micros: int
    output_micros: int
    source: str


class Shutdown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Until when an upstream takes new jobs, and from when the model is gone."""

    no_new_jobs: dt.date
    stops: dt.date


class BaseModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that can be trained. `inference` is the price of those tuned from it, `base_inference` its own."""

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
        """Micro-dollars per million trained tokens on a day; None when it is not billed by tokens."""
        current = [price for price in self.training if price.since <= on]
        return max(current, key=lambda price: price.since).micros if current else None

    def shutdown_at(self, provider: str) -> Shutdown | None:
        """The shutdown at this provider, if it has announced one."""
        return self.shutdown.get(provider)

    def trainable(self, provider: str, on: dt.date) -> bool:
        """Whether that provider still takes new jobs for it."""
        shutdown = self.shutdown_at(provider)
        return shutdown is None or on <= shutdown.no_new_jobs


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    default_model: str
    models: tuple[BaseModel, ...]


class Catalogue:
    """Look-ups by name or alias."""

    def __init__(self, default_model: str, models: tuple[BaseModel, ...]) -> None:
        self.models = models
        self._by_name = {name: model for model in models for name in (model.name, *model.aliases)}
        if default_model not in self._by_name:
            raise SettingsError(f"The catalogue's default model {default_model!r} is not among its models.")
        self.default = self._by_name[default_model]

    def find(self, name: str) -> BaseModel | None:
        """The base model called so, by its name or an alias."""
        return self._by_name.get(name)

    def names(self) -> list[str]:
        """Every name and alias, in the file's order."""
        return list(self._by_name)

    def trainable_names(self, provider: str, on: dt.date) -> list[str]:
        """The names that a new job may give, for messages."""
        return [name for name, model in self._by_name.items() if model.trainable(provider, on)]


def load(path: str = "") -> Catalogue:
    """The shipped catalogue, or the one at `path`. Raises `SettingsError` that says what is wrong with it."""
    file = Path(path) if path else SHIPPED
    try:
        content = msgspec.toml.decode(file.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError(f"The catalogue of models {file.name} cannot be read: {error}") from None
    return Catalogue(content.default_model, content.models)


def provider_of(base_url: str) -> str:
    """Whose shutdown dates hold at a base URL: `openai` for OpenAI itself, else `self-hosted`."""
    return "openai" if "://api.openai.com" in base_url else "self-hosted"
