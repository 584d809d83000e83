"""The report for a person."""

from __future__ import annotations

import datetime
import io

from rich.console import Console

from service.catalogue.tokens import ModelPrice
from service.datasets.report.terminal import render_leakage, render_report
from service.datasets.report_schema import FileReport, Finding, Leakage, pending_report
from tests.datasets.rows import MODEL, asked, calling, jsonl, message, report_on


def rendered(report: FileReport, width: int = 100) -> str:
    out = io.StringIO()
    render_report(report, Console(file=out, width=width))
    return out.getvalue()


def test_a_good_file() -> None:
    prices = [ModelPrice("gpt-4o-mini", 3_000_000, datetime.date(2027, 1, 14)), ModelPrice("o4-mini", None)]
    text = rendered(
        report_on(jsonl(*[asked(f"Why {index}?", f"Since {index}." * 20) for index in range(60)]), prices=prices)
    )
    for part in (
        "Ready to train",
        "chat, 60 examples",
        "3 epochs",
        "gpt-4o-mini",
        "$0.0",
        "2027-01-14",
        "by the hour",
        "█",
    ):
        assert part in text


def test_prices_have_a_column_of_dates_only_where_a_model_ends() -> None:
    rows = jsonl(*[asked(f"Why {index}?", f"Since {index}.") for index in range(60)])
    for date, columns in ((None, ["Train", "Price"]), (datetime.date(2027, 1, 14), ["Train", "Price", "Ends"])):
        text = rendered(report_on(rows, prices=[ModelPrice("gpt-4o-mini", 3_000_000, date)]))
        assert columns in [line.split() for line in text.splitlines()]


def test_errors_with_lines_and_fixes() -> None:
    data = jsonl(asked(), "{", "{", {"messages": [message("user"), message("assistant", "")]}, calling(calls=[]))
    text = rendered(report_on(data))
    for part in ("Not ready to train", "invalid_json", "2x", "lines 2, 3", "content_empty", "fix: drop_empty_messages"):
        assert part in text


def test_markup_in_data_is_shown_as_it_is() -> None:
    text = rendered(report_on(jsonl({"messages": [message("[bold]boss[/bold]"), message("assistant")]})))
    assert "[bold]boss[/bold]" in text


def test_small_empty_and_pending() -> None:
    assert "too small" in rendered(report_on(jsonl(asked())))
    assert "file_empty" in rendered(report_on(b""))
    pending = pending_report(file_id="file-1", model=MODEL.name, max_tokens=1, bytes_total=4, bytes_done=1)
    assert "25% read" in rendered(pending)


def test_a_file_that_shares_many_examples_is_shown_in_a_few_lines() -> None:
    findings = [
        Finding(code="leakage_exact", severity="warning", line=n, pointer="", excerpt="", message="Shared.", fix=None)
        for n in range(1, 53)
    ]
    found = Leakage(validation_file="v", status="ready", validation_examples=52, exact=52, findings=findings)
    out = io.StringIO()
    render_leakage(found, Console(file=out, width=100))
    assert out.getvalue().count("Shared.") == 12
    assert "and 40 more, which `tunegate check TRAIN --validation VALID --json` prints" in out.getvalue()
