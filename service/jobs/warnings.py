"""The warnings that a job carries. Pure.

They are stored with the job when they arise: at its create, when its files are checked or compared, and at its end. So
they stay when a file and its report are deleted.
"""

import datetime as dt
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from service.billing.prices import dollar_text, gpu_cost_micros
from service.billing.quote import Estimate
from service.catalogue.base_models import BaseModel
from service.datasets.report_schema import FileReport, Finding, Leakage
from service.jobs.summary import JobWarning
from service.upstreams.capabilities import shutdown_of

LEAKAGE = "leakage"
MODEL_SHUTDOWN = "model_shutdown"
OVER_BUDGET = "over_budget"
USAGE_UNKNOWN = "usage_unknown"
OVER_RESERVATION = "over_reservation"
RESULT_FILE_LOST = "result_file_lost"

_OF_JOB = frozenset({MODEL_SHUTDOWN, OVER_BUDGET, USAGE_UNKNOWN, OVER_RESERVATION, RESULT_FILE_LOST})
"""Codes about the job itself. All others but `leakage` are codes of dataset checks."""


def in_order(stored: list[Any] | None) -> list[JobWarning]:
    """A job's warnings as they are stored, in the order to show them: leakage, the files' findings, the job itself."""
    return sorted(msgspec.convert(stored or [], list[JobWarning]), key=_rank)


def of_leakage(found: Leakage | None) -> list[JobWarning]:
    """The warning for two files that share examples."""
    if found is None or not found.shared:
        return []
    message = (
        f"{found.shared:,} of {found.validation_examples:,} validation examples ({found.share:.1%}) are in the "
        f"training file too: {found.exact:,} the same, {found.same_prompt:,} with the same prompt, {found.near:,} "
        "nearly the same. The validation loss will make the model look better than it is."
    )
    return [JobWarning(code=LEAKAGE, message=message)]


def of_report(report: FileReport, param: str) -> list[JobWarning]:
    """One warning for each kind of finding that a file's report has as a warning. `param` says which file it is."""
    first: dict[str, Finding] = {}
    for finding in report.findings:
        if finding.severity == "warning":
            first.setdefault(finding.code, finding)
    return [_of_findings(finding, report.counts.get(finding.code, 1), param) for finding in first.values()]


def of_shutdown(base: BaseModel, providers: Collection[str]) -> list[JobWarning]:
    """The warning for a base model whose end has been announced wherever the job can run."""
    shutdown = shutdown_of(base, providers)
    if shutdown is None:
        return []
    message = (
        f"{base.name} takes no new jobs after {_day(shutdown.no_new_jobs)}, and stops with all models that were tuned "
        f"from it on {_day(shutdown.stops)}."
    )
    return [JobWarning(code=MODEL_SHUTDOWN, message=message)]


def of_budget(estimate: Estimate, budget_micros: int | None) -> list[JobWarning]:
    """The warning for a budget that is less than such a job is expected to cost."""
    if budget_micros is None or estimate.gpu_seconds is None:
        return []
    expected = gpu_cost_micros(estimate.gpu_seconds.expected, estimate.price_micros_per_gpu_second or 0)
    if expected <= budget_micros:
        return []
    message = f"Such a job costs about {dollar_text(expected)}. With this budget it is stopped before it has finished."
    return [JobWarning(code=OVER_BUDGET, message=message)]


def stored(warnings: Iterable[JobWarning]) -> list[Any]:
    """Warnings as a job's row stores them."""
    return [msgspec.to_builtins(warning) for warning in warnings]


def _of_findings(first: Finding, count: int, param: str) -> JobWarning:
    others = f" and {count - 1:,} more" if count > 1 else ""
    return JobWarning(code=first.code, message=f"{param}, line {first.line:,}{others}: {first.message}")


def _rank(warning: JobWarning) -> int:
    return 0 if warning.code == LEAKAGE else 2 if warning.code in _OF_JOB else 1


def _day(day: dt.date) -> str:
    return day.isoformat()
