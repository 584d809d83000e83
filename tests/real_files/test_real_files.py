"""Every file is reported and prepared as expected, and nothing of it disappears unreported."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.datasets.preparation.refusals import PreparationRefused
from service.datasets.shapes import SHAPES
from tests.datasets.preparation.sources import make
from tests.datasets.rows import report_on
from tests.real_files.expected import EXPECTED

FILES = Path(__file__).parent / "files"


@pytest.mark.parametrize("name", EXPECTED)
def test_the_report(name: str) -> None:
    report = report_on((FILES / name).read_bytes())
    errors = {finding.code for finding in report.findings if finding.severity == "error"}
    assert {code: report.counts[code] for code in errors} == EXPECTED[name].errors
    first = next(finding.message for finding in report.findings if finding.severity == "error")
    assert EXPECTED[name].said in first
    shape = SHAPES.get(EXPECTED[name].shape or "")
    assert shape is None or "table_file" in errors or shape.title in first


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if not expected.refused])
def test_the_preparation(name: str) -> None:
    expected = EXPECTED[name]
    made = make((FILES / name).read_bytes(), filename=name)
    result = made.result
    assert result.input is not None
    assert result.input.shape == expected.shape
    assert result.options.target_format == expected.format
    assert result.rows_out == expected.examples == len(made.rows)
    assert made.rows[0] == expected.first
    assert set(result.input.unused) == set(expected.unused)
    assert result.rows_in + result.rows_added == result.rows_out + result.rows_joined + sum(
        result.rows_dropped.values()
    )
    assert expected.notes in "\n".join(result.notes)
    for place in expected.unused:
        assert f"`{place}`" in "\n".join(result.notes)
    assert report_on(made.training).errors == 0
    assert make(made.training, filename="data.jsonl").training == made.training


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if expected.refused])
def test_the_refusal(name: str) -> None:
    with pytest.raises(PreparationRefused) as refused:
        make((FILES / name).read_bytes(), filename=name)
    assert EXPECTED[name].refused in refused.value.message


def test_every_file_is_expected() -> None:
    assert {path.name for path in FILES.iterdir()} == set(EXPECTED)
