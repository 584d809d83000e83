"""Making a report outside the API: of an object of the store for a worker's process, or of a file on this disk."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from service.datasets.report import build_report
from service.datasets.report_schema import FileReport
from service.datasets.tokens import ModelFacts, ModelPrice
from service.models.catalogue import BaseModel, Catalogue, load
from service.models.rules import known_model
from service.settings import Settings
from service.storage import Storage

READ_BYTES = 1024 * 1024


class ReportRequest(msgspec.Struct, frozen=True, tag="report"):
    """One dataset to report on."""

    storage_key: str
    file_id: str
    model: str
    provider: str


def report_for_path(
    path: Path, model: str | None, settings: Settings, progress: Callable[[int], None] | None = None
) -> FileReport:
    """The report of a file on this disk, without a server. Raises `OSError`, and `InvalidRequest` for the model."""
    catalogue = load(settings.models_file)
    chosen = catalogue.default if model is None else known_model(catalogue, model)

    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(READ_BYTES):
                yield chunk

    return build_report(
        chunks(), file_id=path.name, model=facts(chosen), prices=price_list(catalogue, ""), progress=progress
    )


def facts(model: BaseModel) -> ModelFacts:
    """What counting needs to know of a model."""
    return ModelFacts(name=model.name, encoding=model.encoding, max_tokens=model.max_tokens)


def price_list(catalogue: Catalogue, provider: str) -> list[ModelPrice]:
    """Today's price of every model that is billed by the token, for a provider."""
    today = datetime.now(UTC).date()
    prices = []
    for model in catalogue.models:
        micros, shutdown = model.training_micros(today), model.shutdown_at(provider)
        if micros is not None and model.trainable(provider, today):
            prices.append(ModelPrice(model.name, micros, shutdown.stops if shutdown else None))
    return prices


def report_for_object(
    storage: Storage, catalogue: Catalogue, request: ReportRequest, progress: Callable[[int], None]
) -> FileReport:
    """The report of an object of the store. Raises `FileNotFoundError`, and `InvalidRequest` for the model."""
    return build_report(
        storage.read_sync(request.storage_key),
        file_id=request.file_id,
        model=facts(known_model(catalogue, request.model)),
        prices=price_list(catalogue, request.provider),
        progress=progress,
    )
