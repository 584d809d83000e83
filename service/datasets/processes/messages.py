"""The requests and answers of a worker's processes for datasets. A worker imports these, and none of their work."""

from typing import TypeAlias

import msgspec

from service.datasets.preparation.options import Options
from service.datasets.preparation.outcome import Prepared
from service.datasets.report_schema import FileReport, Leakage
from service.storage import Stored


class ReportRequest(msgspec.Struct, frozen=True, tag="report"):
    """One dataset to report on, in at most `cpu_seconds` of processor time."""

    storage_key: str
    file_id: str
    model: str
    provider: str
    cpu_seconds: float


class LeakageRequest(msgspec.Struct, frozen=True, kw_only=True, tag="leakage"):
    """Two datasets to compare, in at most `cpu_seconds` of processor time."""

    training_key: str
    validation_key: str
    validation_file: str
    cpu_seconds: float


class PrepareRequest(msgspec.Struct, frozen=True, kw_only=True, tag="prepare"):
    """One dataset to prepare, the keys under which to store the results, and the limits of time and temporary files."""

    storage_key: str
    filename: str
    options: Options
    model: str
    training_key: str
    validation_key: str
    changes_key: str
    cpu_seconds: float
    disk_bytes: int


class Preparation(msgspec.Struct, frozen=True, kw_only=True, tag="prepared"):
    """The results that were stored. `validation` is null without a split."""

    outcome: Prepared
    training: Stored
    validation: Stored | None
    changes: Stored


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """Why the dataset cannot be prepared; another attempt would fail too."""

    code: str
    message: str
    param: str | None


class Reported(msgspec.Struct, frozen=True, tag="report"):
    """The result of a `ReportRequest`."""

    report: FileReport


class Compared(msgspec.Struct, frozen=True, tag="compared"):
    """The result of a `LeakageRequest`."""

    leakage: Leakage


Request: TypeAlias = ReportRequest | PrepareRequest | LeakageRequest
Answer: TypeAlias = Reported | Preparation | Refusal | Compared
