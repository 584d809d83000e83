"""The process that does a worker's CPU work on datasets: reports, preparations and leakage reports.

`python -m service.datasets.processes.main STORAGE_URL MODELS_FILE [counting]` serves one worker: it reads requests as
JSON lines on its standard input, and answers each with lines of progress and one line with the result. With `counting`
it first loads the default encoding and numpy, which take longer than the rest of its start. It ends when its input
ends, so it cannot outlive the worker. It runs at low priority, so that this work does not slow down requests to the
API; so do the processes that it forks to share the report of a large file.
"""

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import msgspec

from service.catalogue.base_models import Catalogue, load
from service.catalogue.tokens import EncodingDamaged, reference_counter
from service.datasets.processes.leakage import LeakageRequest, leakage_of_objects
from service.datasets.processes.preparation import Preparation, PrepareRequest, Refusal, prepare_stored
from service.datasets.processes.report import ReportRequest, report_for_object
from service.datasets.report_schema import FileReport, Leakage
from service.storage import Storage, StorageUnavailable

NICENESS = 10


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """The number of bytes read so far."""

    done_bytes: int


class Reported(msgspec.Struct, frozen=True, tag="report"):
    """The result of a `ReportRequest`."""

    report: FileReport


class Compared(msgspec.Struct, frozen=True, tag="compared"):
    """The result of a `LeakageRequest`."""

    leakage: Leakage


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A defect, or a store that is unavailable; another attempt may succeed."""

    error: str
    store_unavailable: bool = False


Request: TypeAlias = ReportRequest | PrepareRequest | LeakageRequest
Answer: TypeAlias = Progress | Reported | Preparation | Refusal | Compared | Failed


def main(storage_url: str, models_file: str, *, counting: bool = False) -> None:
    """Serve requests until the input ends."""
    os.nice(NICENESS)
    storage, catalogue = Storage(storage_url), load(models_file)
    if counting:
        importlib.import_module("service.datasets.duplicates.near")
        with suppress(EncodingDamaged):  # every answer reports it
            reference_counter(catalogue.default.encoding)
    out = sys.stdout.buffer

    def send(answer: Answer) -> None:
        out.write(msgspec.json.encode(answer) + b"\n")
        out.flush()

    for line in sys.stdin.buffer:
        try:
            request = msgspec.json.decode(line, type=Request)
            send(_answer(storage, catalogue, request, lambda done: send(Progress(done))))
        except BrokenPipeError:
            return
        except Exception as error:
            send(Failed(f"{type(error).__name__}: {error}", store_unavailable=isinstance(error, StorageUnavailable)))


def _answer(storage: Storage, catalogue: Catalogue, request: Request, progress: Callable[[int], None]) -> Answer:
    match request:
        case ReportRequest():
            return Reported(report_for_object(storage, catalogue, request, progress))
        case PrepareRequest():
            return prepare_stored(storage, catalogue, request, progress)
        case LeakageRequest():
            return Compared(leakage_of_objects(storage, request, progress))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], counting="counting" in sys.argv[3:])
