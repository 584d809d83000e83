"""Comparisons: building the plan of a run from its file, and grading the answers.

Answers are graded in a thread, since that takes processor time, and scipy is imported there for the intervals.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import insert

from service import fault_points
from service.database.leases import Claim
from service.database.tables import ComparisonCase, File, Run
from service.runs.comparisons.cases import Case, choose, read_cases
from service.runs.comparisons.grading import GradedCase, grade
from service.runs.comparisons.options import ComparisonPlanOptions
from service.runs.comparisons.plan import ComparisonPlan
from service.runs.comparisons.stored import stored_options
from service.runs.plan import Plan
from service.runs.record import RunError, end
from service.storage import Storage
from workers.context import Context

MAX_CASES_BYTES = 64 << 20
"""The largest size of a comparison's cases, which are held in memory while it runs."""

ROWS_PER_INSERT = 500

FILE_DELETED = RunError(code="file_not_found", message="The file has been deleted. Upload it again.", param="file")


class _CasesTooLarge(Exception):
    """The chosen examples exceed `MAX_CASES_BYTES`."""


async def open_plan(ctx: Context, run: Run) -> Plan | RunError:
    """The plan over the chosen examples of the file, or why there can be none."""
    options = stored_options(run)
    async with ctx.db.worker() as session:
        file = await session.get(File, run.input_file_id)
    if file is None or file.deleted_at is not None:
        return FILE_DELETED
    try:
        cases = await asyncio.to_thread(_cases, ctx.storage, file.storage_key, options)
    except FileNotFoundError:
        return FILE_DELETED
    except _CasesTooLarge:
        return RunError(
            code="too_many_examples",
            message=f"The chosen examples have more than {MAX_CASES_BYTES >> 20} MB. Give a smaller `max_examples`.",
            param="max_examples",
        )
    if not cases:
        return RunError(
            code="invalid_file_format", message="No example of the file has an answer to compare with.", param="file"
        )
    return ComparisonPlan(options, cases)


async def conclude(ctx: Context, claimed: Claim[Run], plan: ComparisonPlan, error: RunError | None) -> None:
    """Grade the complete cases, record them and end the run; with `error`, as failed."""
    run = claimed.row
    outcome, graded = await asyncio.to_thread(grade, plan)
    fault_points.point("run.graded")
    values: dict[str, Any] = {"done": plan.done, "total": plan.total, "outcome": msgspec.to_builtins(outcome)}
    rows = [_row(run, place, each) for place, each in enumerate(graded)]
    async with ctx.db.worker() as session:
        for begin in range(0, len(rows), ROWS_PER_INSERT):
            await session.execute(insert(ComparisonCase), rows[begin : begin + ROWS_PER_INSERT])
        message = f"Ended: {outcome.cases:,} of {plan.total:,} cases are graded"
        await end(session, claimed, message, values, error=error)
    fault_points.point("run.ended")


def _cases(storage: Storage, key: str, options: ComparisonPlanOptions) -> Sequence[Case]:
    chosen = choose(options.file_examples, options.examples, options.seed)
    cases: list[Case] = []
    size_bytes = 0
    for case in read_cases(storage.read_sync(key), chosen, options.format, turn=options.turn, stop=options.stop):
        cases.append(case)
        size_bytes += len(msgspec.json.encode(case.body))
        if size_bytes > MAX_CASES_BYTES:
            raise _CasesTooLarge
    return cases


def _row(run: Run, place: int, graded: GradedCase) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "place": place,
        "project_id": run.project_id,
        "line": graded.case.line,
        "turn": graded.case.turn,
        "offset_bytes": graded.case.offset,
        "winner": graded.winner,
        "failed": [
            f"{number}/{name}"
            for number, scores in enumerate(graded.grader_scores)
            for name, score in scores.items()
            if not score.passed
        ],
        "scores": graded.scores,
        "grader_scores": msgspec.to_builtins(graded.grader_scores),
    }
