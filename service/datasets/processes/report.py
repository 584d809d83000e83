"""Makes reports outside the API: of a stored object for a worker, or of a file on this disk."""

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from service.catalogue.base_models import Catalogue
from service.catalogue.counting import facts
from service.catalogue.lookup import known_model
from service.catalogue.models_file import load
from service.datasets.report.build import build_report
from service.datasets.report.prices import price_list
from service.datasets.report.process_pool import usable_cores
from service.datasets.report.profiler import Profiler
from service.datasets.report_schema import FileReport
from service.settings import Settings

if TYPE_CHECKING:
    from service.datasets.processes.messages import ReportRequest
    from service.storage import Storage  # not needed for a file on this disk

READ_BYTES = 1024 * 1024
SHARED_FROM_BYTES = 4 << 20
"""A smaller file is finished before other processes could help."""

QUICK_FROM_BYTES = 12 << 20
"""A smaller file is counted by tiktoken before the fast counter is loaded."""


def report_for_path(
    path: Path,
    model: str | None,
    settings: Settings,
    progress: Callable[[int], None] | None = None,
    profiler: Profiler | None = None,
) -> FileReport:
    """The report of a file on this disk, without a server. Raises `OSError`, and `InvalidRequest` for the model."""
    catalogue = load(settings.models_file)
    chosen = catalogue.default if model is None else known_model(catalogue, model)

    size_bytes = path.stat().st_size
    return build_report(
        _Chunks(lambda: pieces_of(path)),
        file_id=path.name,
        model=facts(chosen),
        prices=price_list(catalogue, "", today=datetime.now(UTC).date()),
        progress=progress,
        processes=_processes(size_bytes),
        quick=size_bytes >= QUICK_FROM_BYTES,
        path=path,
        profiler=profiler,
    )


def pieces_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file on this disk. Raises `OSError`."""
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            yield chunk


def report_for_object(
    storage: "Storage",
    catalogue: Catalogue,
    request: "ReportRequest",
    progress: Callable[[int], None],
    *,
    loaded: Collection[str] = (),
) -> FileReport:
    """Build the report of a stored object. `loaded` names the encodings whose fast counters this process has loaded.

    Raises `FileNotFoundError`, and `InvalidRequest` for an unknown model.
    """
    size_bytes = storage.size_sync(request.storage_key)
    model = facts(known_model(catalogue, request.model))
    return build_report(
        _Chunks(partial(storage.read_sync, request.storage_key)),
        file_id=request.file_id,
        model=model,
        prices=price_list(catalogue, request.provider, today=datetime.now(UTC).date()),
        progress=progress,
        processes=_processes(size_bytes),
        quick=size_bytes >= QUICK_FROM_BYTES or model.encoding in loaded,
        path=storage.path(request.storage_key),
    )


class _Chunks:
    """A file that can be read more than once."""

    def __init__(self, read: Callable[[], Iterator[bytes]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[bytes]:
        return self._read()


def _processes(size_bytes: int) -> int:
    return 1 if size_bytes < SHARED_FROM_BYTES else min(usable_cores(), size_bytes // (SHARED_FROM_BYTES // 2))
