"""Making a report outside the API: in a process of its own for workers, or for a file on this disk.

`python -m service.datasets.validation STORAGE_URL MODELS_FILE` serves one worker: it reads requests as JSON lines on
its input and answers with progress lines and, at the end, the report. It ends with its input, so it cannot outlive the
worker, and it runs at low priority, so that validation never slows what callers wait for.
"""

import os
import sys
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
NICENESS = 10


class Request(msgspec.Struct, frozen=True):
    """One dataset to report on."""

    storage_key: str
    file_id: str
    model: str
    provider: str


class Answer(msgspec.Struct, frozen=True):
    """A line of the answer: bytes done, or the report, or why there is none."""

    progress_bytes: int | None = None
    report: FileReport | None = None
    error: str | None = None


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


def main(storage_url: str, models_file: str) -> None:
    """Serve requests until the input ends."""
    os.nice(NICENESS)
    storage, catalogue = Storage(storage_url), load(models_file)
    out = sys.stdout.buffer

    def say(answer: Answer) -> None:
        out.write(msgspec.json.encode(answer) + b"\n")
        out.flush()

    for line in sys.stdin.buffer:
        request = msgspec.json.decode(line, type=Request)
        try:
            report = build_report(
                storage.read_sync(request.storage_key),
                file_id=request.file_id,
                model=facts(known_model(catalogue, request.model)),
                prices=price_list(catalogue, request.provider),
                progress=lambda done: say(Answer(progress_bytes=done)),
            )
            say(Answer(report=report))
        except Exception as error:
            say(Answer(error=f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
