"""Finds leakage outside the API: between two stored objects for a worker, or between two files on this disk."""

from collections.abc import Callable, Iterator
from pathlib import Path

from service import fault_points
from service.datasets.leakage.find import find_leakage
from service.datasets.processes.messages import LeakageRequest
from service.datasets.processes.report import pieces_of
from service.datasets.report_schema import Leakage
from service.storage import Storage


def leakage_of_objects(storage: Storage, request: LeakageRequest, progress: Callable[[int], None]) -> Leakage:
    """Compares two stored objects. `progress` is called with the bytes read of both, the validation file's first.

    Raises `FileNotFoundError`.
    """
    fault_points.point("leakage.working")
    done_bytes = 0

    def chunks(key: str) -> Iterator[bytes]:
        nonlocal done_bytes
        for chunk in storage.read_sync(key):
            done_bytes += len(chunk)
            progress(done_bytes)
            yield chunk

    return find_leakage(
        chunks(request.training_key), chunks(request.validation_key), validation_file=request.validation_file
    )


def leakage_of_paths(training: Path, validation: Path) -> Leakage:
    """Compares two files on this disk. Raises `OSError`."""
    return find_leakage(pieces_of(training), pieces_of(validation), validation_file=validation.name)
