"""The process that does a worker's CPU work on datasets: reports, preparations and leakage reports.

`python -m service.datasets.processes.main STORAGE_URL MODELS_FILE [counting]` serves one worker as a program of
`service/processes/pool.py`. With `counting` it first loads the default encoding and numpy, which take longer than the
rest of its start. It ends when its input ends, so it cannot outlive the worker. Its low priority and its limit of
memory hold for the processes that it forks to share the report of a large file as well.
"""

import importlib
import sys
from contextlib import suppress
from typing import TypeAlias

import msgspec

from service.catalogue.base_models import load
from service.catalogue.tokens import EncodingDamaged, reference_counter
from service.datasets.processes.leakage import LeakageRequest, leakage_of_objects
from service.datasets.processes.preparation import Preparation, PrepareRequest, Refusal, prepare_stored
from service.datasets.processes.report import ReportRequest, report_for_object
from service.datasets.report_schema import FileReport, Leakage
from service.processes.guard import guarded
from service.processes.program import Report, serve
from service.storage import Storage, StorageUnavailable


class Reported(msgspec.Struct, frozen=True, tag="report"):
    """The result of a `ReportRequest`."""

    report: FileReport


class Compared(msgspec.Struct, frozen=True, tag="compared"):
    """The result of a `LeakageRequest`."""

    leakage: Leakage


Request: TypeAlias = ReportRequest | PrepareRequest | LeakageRequest
Answer: TypeAlias = Reported | Preparation | Refusal | Compared


def main(storage_url: str, models_file: str, *, counting: bool = False) -> None:
    """Serve requests until the input ends."""
    storage, catalogue = Storage(storage_url), load(models_file)
    if counting:
        importlib.import_module("service.datasets.duplicates.near")
        with suppress(EncodingDamaged):  # every answer reports it
            reference_counter(catalogue.default.encoding)

    def answer(request: Request, progress: Report) -> Answer:
        match request:
            case ReportRequest():
                with guarded("checking the file", cpu_seconds=request.cpu_seconds):
                    return Reported(report_for_object(storage, catalogue, request, progress))
            case PrepareRequest():
                with guarded("preparing the file", cpu_seconds=request.cpu_seconds):
                    return prepare_stored(storage, catalogue, request, progress)
            case LeakageRequest():
                with guarded("comparing the files", cpu_seconds=request.cpu_seconds):
                    return Compared(leakage_of_objects(storage, request, progress))

    serve(Request, answer, is_store_unavailable=lambda error: isinstance(error, StorageUnavailable))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], counting="counting" in sys.argv[3:])
