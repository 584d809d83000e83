"""A job's warnings: leakage first, then the findings of its files, then the job itself."""

import datetime as dt

import pytest

from service.catalogue import models_file
from service.datasets.report_schema import FileReport, Finding, Leakage
from service.jobs import warnings

CATALOGUE = models_file.load()


def finding(code: str, line: int, severity: str = "warning") -> Finding:
    """A finding on a line."""
    return Finding(
        code=code,
        severity=severity,  # type: ignore[arg-type]
        line=line,
        pointer="",
        excerpt="",
        message=f"{code} is so.",
        fix=None,
    )


def test_each_kind_of_finding_is_one_warning_with_its_first_line_and_count() -> None:
    report = FileReport(
        file_id="file-1",
        status="ready",
        progress=1.0,
        model="gpt-4o-mini",
        max_tokens=1,
        findings=[
            finding("exact_duplicate", 4),
            finding("role_unknown", 5, "error"),
            finding("exact_duplicate", 9),
            finding("few_examples", 1),
            finding("note", 2, "info"),
        ],
        counts={"exact_duplicate": 1200, "role_unknown": 1, "few_examples": 1, "note": 1},
    )
    assert [(each.code, each.message) for each in warnings.of_report(report, "training_file")] == [
        ("exact_duplicate", "training_file, line 4 and 1,199 more: exact_duplicate is so."),
        ("few_examples", "training_file, line 1: few_examples is so."),
    ]


def test_leakage_comes_first_and_the_job_last_however_they_arrived() -> None:
    stored = [
        {"code": code, "message": ""}
        for code in ("model_shutdown", "few_examples", "usage_unknown", "leakage", "exact_duplicate")
    ]
    assert [each.code for each in warnings.in_order(stored)] == [
        "leakage", "few_examples", "exact_duplicate", "model_shutdown", "usage_unknown",
    ]  # fmt: skip
    assert warnings.in_order(None) == []


@pytest.mark.parametrize(
    ("providers", "warned"),
    [(["openai"], True), (["openai", "self-hosted"], False), (["self-hosted"], False), ([], False)],
)
def test_a_shutdown_is_a_warning_if_it_is_announced_wherever_the_job_can_run(
    providers: list[str], warned: bool
) -> None:
    model = CATALOGUE.find("gpt-4.1")
    assert model is not None
    found = warnings.of_shutdown(model, providers)
    assert [each.code for each in found] == ["model_shutdown"] * warned
    shutdown = model.shutdown_at("openai")
    assert shutdown is not None
    for day in (shutdown.no_new_jobs, shutdown.stops):
        assert all(day.isoformat() in each.message for each in found)
    assert isinstance(shutdown.stops, dt.date)


def test_files_without_shared_examples_have_no_warning() -> None:
    clean = Leakage(validation_file="file-1", status="ready", validation_examples=4)
    assert warnings.of_leakage(None) == warnings.of_leakage(clean) == []
