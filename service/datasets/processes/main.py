"""The process that does a worker's CPU work on datasets: reports, preparations and leakage reports.

`python -m service.datasets.processes.main STORAGE_URL MODELS_FILE [counting]` serves one worker as a program of
`service/processes/pool.py`. With `counting` it first loads what a report needs and is slow to load: both counters of
the default encoding, the patterns of the text checks and numpy. It then has 175 MB, 60 MB of them for the fast
counter. So a small file's report takes milliseconds, and processes that are forked for a large file share all of it. It
ends when its input ends, so it cannot outlive the worker. Its low priority and its limit of memory hold for the
processes that it forks as well.
"""

import importlib
import sys
from contextlib import suppress

from service.catalogue.counting import counter_of, counting_of
from service.catalogue.models_file import load
from service.catalogue.tokens import EncodingDamaged, fast_counter
from service.datasets.processes.leakage import leakage_of_objects
from service.datasets.processes.messages import (
    Answer,
    Compared,
    LeakageRequest,
    PrepareRequest,
    Reported,
    ReportRequest,
    Request,
)
from service.datasets.processes.preparation import prepare_stored
from service.datasets.processes.report import report_for_object
from service.datasets.report.text_checks import compile_searches
from service.processes.guard import guarded
from service.processes.program import Report, serve
from service.storage import Storage, StorageUnavailable

_IMPORTED_FIRST = ("service.datasets.duplicates.near", "service.datasets.mojibake.diagnosis")
"""Modules that import numpy and ftfy, and that are otherwise imported for the first file that needs them."""


def main(storage_url: str, models_file: str, *, counting: bool = False) -> None:
    """Serve requests until the input ends."""
    storage, catalogue = Storage(storage_url), load(models_file)
    loaded: set[str] = set()
    if counting:
        encoding = catalogue.default.encoding
        for module in _IMPORTED_FIRST:
            importlib.import_module(module)
        compile_searches()
        with suppress(EncodingDamaged):  # every answer reports it
            counter_of(counting_of(catalogue.default))
            if not catalogue.default.is_open and fast_counter(encoding) is not None:
                loaded.add(encoding)

    def answer(request: Request, progress: Report) -> Answer:
        match request:
            case ReportRequest():
                with guarded("checking the file", cpu_seconds=request.cpu_seconds):
                    return Reported(report_for_object(storage, catalogue, request, progress, loaded=loaded))
            case PrepareRequest():
                with guarded("preparing the file", cpu_seconds=request.cpu_seconds):
                    return prepare_stored(storage, catalogue, request, progress)
            case LeakageRequest():
                with guarded("comparing the files", cpu_seconds=request.cpu_seconds):
                    return Compared(leakage_of_objects(storage, request, progress))

    serve(Request, answer, is_store_unavailable=lambda error: isinstance(error, StorageUnavailable))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], counting="counting" in sys.argv[3:])
