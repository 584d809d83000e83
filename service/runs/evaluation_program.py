"""The program of the evaluation processes: `python -m service.runs.evaluation_program SECONDS`.

Each evaluation has SECONDS of processor time, and names what it does, so that a limit can be reported with the grader
and the case.
"""

import re
import sys
from typing import Any, TypeAlias, assert_never

import msgspec

from service.datasets.checks.tools import (
    forget_schemas,
    schema_too_complex,
    tool_name_duplicate,
    tool_name_invalid,
    tool_parameters_invalid,
    tool_shape,
)
from service.processes.guard import guarded
from service.processes.program import Report, serve
from service.runs.comparisons.evaluation import CheckGraders, GradeCases
from service.runs.comparisons.graders import json_schema, regular_expression
from service.runs.comparisons.graders.base import GraderRefused
from service.runs.comparisons.graders.registry import AnyGrader, graders_by_name
from service.runs.comparisons.grading import AnsweredCase, grade_case
from service.runs.evaluator import CHECK_SECONDS, Checked
from service.runs.generations.evaluation import CheckCalls, CheckTools
from service.runs.generations.plan import call_fault

SECONDS_PER_CASE = 0.25
"""Added for each case of a request, so that many evaluations just below the limit have one too."""

Request: TypeAlias = CheckGraders | CheckTools | CheckCalls | GradeCases

_TOOL_CHECKS = (tool_shape, tool_name_invalid, tool_name_duplicate, tool_parameters_invalid, schema_too_complex)


def main(seconds: float) -> None:
    """Answer requests until the input ends."""

    def answer(request: Request, progress: Report) -> object:
        try:
            return _answer(request, seconds)
        finally:  # the next request, perhaps another project's, has all of the memory
            forget_schemas()
            json_schema.compiled.cache_clear()
            regular_expression.compiled.cache_clear()

    serve(Request, answer)


def _answer(request: Request, seconds: float) -> object:
    match request:
        case CheckGraders(graders):
            with guarded("checking the graders", cpu_seconds=min(CHECK_SECONDS, seconds)):
                return _check_graders(graders, seconds)
        case CheckTools():
            with guarded("checking the tools", cpu_seconds=min(CHECK_SECONDS, seconds)):
                return _check_tools(request.tools)
        case CheckCalls(tools, calls):
            with guarded("checking the calls", cpu_seconds=seconds + SECONDS_PER_CASE * len(calls)):
                return [call_fault(tools, name, made) for name, made in calls]
        case GradeCases(graders, encoded):
            with guarded("grading", cpu_seconds=seconds + SECONDS_PER_CASE * len(encoded)):
                by_name = graders_by_name(graders)
                cases = [msgspec.json.decode(each, type=AnsweredCase) for each in encoded]
                return [grade_case(by_name, case, seconds=seconds) for case in cases]
        case never:
            assert_never(never)


def _check_graders(graders: list[AnyGrader], seconds: float) -> Checked:
    for place, grader in enumerate(graders):
        try:
            with guarded(f"graders[{place}]", cpu_seconds=seconds):
                grader.check()
        except GraderRefused as refusal:
            return Checked(refusal.message, f"[{place}].{refusal.option}")
    return Checked()


def _check_tools(tools: list[dict[str, Any]]) -> Checked:
    row = {"messages": [], "tools": tools}
    for check in _TOOL_CHECKS:
        for hit in check(row):
            return Checked(hit.message, _path(hit.pointer.removeprefix("/tools")))
    return Checked()


def _path(pointer: str) -> str:
    """A JSON pointer as a path: `/0/function` is `[0].function`."""
    return re.sub(r"/(\d+)(?=/|$)", r"[\1]", pointer).replace("/", ".")


if __name__ == "__main__":
    main(float(sys.argv[1]))
