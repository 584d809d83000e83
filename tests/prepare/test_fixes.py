"""Every fix: after it its check finds nothing more, twice is as good as once, and it leaves alone what is right."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.datasets.checks import CHECKS, FIXES
from service.datasets.checks.secrets import personal_email
from service.datasets.formats import file_format
from service.datasets.prepare.changes import Dropped, first_difference
from service.datasets.prepare.fixes.registry import FILE_FIXES, READING_FIXES, ROW_FIXES
from service.datasets.prepare.options import IMPLIED_FIXES, SAFE_FIXES
from service.datasets.prepare.refusals import PreparationRefused
from tests.datasets.cases import CASES, Case
from tests.datasets.rows import (
    MODEL,
    OLD_MODEL,
    asked,
    call,
    calling,
    chat,
    completion,
    function_call_row,
    jsonl,
    message,
    pair,
    report_on,
    tool,
)
from tests.prepare.workshop import ALL, SAFE, make

FIXED = [
    pytest.param(check.fix, code, case, id=f"{check.fix}-{code}-{number}")
    for code, check in CHECKS.items()
    if check.fix
    for number, case in enumerate(CASES[code])
]
UNREADABLE = {"table_file-1", "table_file-2", "not_text_file-0", "not_text_file-1"}
"""Cases that are refused with a reason: no column says what it holds, or the file only begins like what it is."""

MALFORMED = {"tools_count", "tool_shape", "call_shape"}
"""What is no function at all is not made a tool: its own check stops a job."""


def fixed(data: bytes, *fixes: str, **more: Any) -> list[Any]:
    return make(data, fixes=fixes, **more).rows


def test_the_registry_has_exactly_the_fixes_that_the_checks_name() -> None:
    assert sorted([*READING_FIXES, *ROW_FIXES, *FILE_FIXES]) == sorted(FIXES)
    assert set(FIXES) > SAFE_FIXES > IMPLIED_FIXES


@pytest.mark.parametrize(("fix", "code", "case"), FIXED)
def test_after_a_fix_its_check_finds_nothing_more(
    fix: str, code: str, case: Case, request: pytest.FixtureRequest
) -> None:
    options = dict(case.options)
    model = options.pop("model", MODEL)
    name = request.node.callspec.id.removeprefix(f"{fix}-")
    if name in UNREADABLE:
        with pytest.raises(PreparationRefused):
            make(case.found, fixes=[fix], model=model)
        return
    try:
        made = make(case.found, fixes=[fix], model=model)
    except PreparationRefused as error:
        assert fix.startswith(("drop_", "repair_")), error.message
        assert "No example is left" in error.message
        return
    assert code not in report_on(made.training, model=model, **options).counts
    assert made.result.changes.get(fix, 0) > 0
    again = make(made.training, fixes=[fix], model=model)
    assert again.training == made.training
    assert again.result.changes == {}


@pytest.mark.parametrize("code", CASES)
def test_all_fixes_together_leave_nothing_that_one_of_them_mends(code: str) -> None:
    for case in CASES[code]:
        model = case.options.get("model", MODEL)
        try:
            made = make(case.found, fixes=ALL, model=model)
        except PreparationRefused:
            continue
        left = report_on(made.training, model=model).counts
        known = {"older_functions"} if MALFORMED & set(left) else set()
        assert {found for found in left if CHECKS[found].fix} <= known
        again = make(made.training, fixes=ALL, model=model)
        assert (again.training, again.result.changes) == (made.training, {})


@pytest.mark.parametrize("code", CASES)
def test_without_fixes_rows_come_out_as_they_went_in(code: str) -> None:
    for case in CASES[code]:
        try:
            made = make(case.silent, fixes=())
        except PreparationRefused:
            continue
        rows = [json.loads(line) for line in case.silent.splitlines() if line.strip()]
        assert made.rows == rows
