"""Every check speaks where it should, at its line and pointer, and is silent where it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.datasets.checks import CHECKS
from service.datasets.checks.markdown import checks_markdown
from service.datasets.fixes import FIXES
from tests.datasets.cases import CASES, Case
from tests.datasets.rows import findings_of, report_on

EVERY_CASE = [
    pytest.param(code, case, id=f"{code}-{number}")
    for code, cases in CASES.items()
    for number, case in enumerate(cases)
]


@pytest.mark.parametrize(("code", "case"), EVERY_CASE)
def test_found(code: str, case: Case) -> None:
    report = report_on(case.found, **case.options)
    found = findings_of(report, code)
    assert report.counts.get(code) == len(found) > 0
    assert case.line in [finding.line for finding in found]
    assert case.pointer in [finding.pointer for finding in found]
    for finding in found:
        assert finding.severity == CHECKS[code].severity
        assert finding.fix == CHECKS[code].fix
        assert finding.message.endswith((".", "?"))
        assert len(finding.excerpt) <= 120


@pytest.mark.parametrize(("code", "case"), EVERY_CASE)
def test_silent(code: str, case: Case) -> None:
    assert code not in report_on(case.silent, **case.options).counts


def test_every_check_has_cases() -> None:
    elsewhere = {"near_duplicate", "leakage_exact", "leakage_prompt", "leakage_near"}  # test_leakage.py
    elsewhere |= {"limit_reached", "not_checked"}  # tests/workers/test_datasets.py
    elsewhere |= {"template_cannot_render"}  # test_open_models.py
    assert set(CASES) | elsewhere == set(CHECKS)


def test_every_check_is_documented() -> None:
    for check in CHECKS.values():
        assert check.doc
        assert check.severity in ("error", "warning", "info")
        assert check.fix is None or check.fix in FIXES


def test_every_fix_is_named_by_a_check() -> None:
    assert {check.fix for check in CHECKS.values() if check.fix} == set(FIXES)


def test_the_page_is_what_the_registry_says() -> None:
    page = Path(__file__).parents[2] / "docs" / "checks.md"
    assert page.read_text(encoding="utf-8") == checks_markdown(), (
        "run python -m service.datasets.checks > docs/checks.md"
    )
    for code in CHECKS:
        assert f"| `{code}` |" in checks_markdown()
