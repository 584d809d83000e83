"""Comparisons: building the plan of a run from its file, and grading the answers.

Answers are graded some at a time in evaluation processes: a schema or a pattern that takes too long on an answer ends
its own run and nothing else. The figures are computed in a thread, where scipy is imported for the intervals.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import insert

from service import fault_points
from service.database.leases import Claim
from service.database.tables import ComparisonCase, File, Run
from service.processes.guard import LimitReached
from service.runs.comparisons.cases import (
    MAX_CASES_BYTES,
    MAX_CASES_VALUES,
    Case,
    ExampleTooLarge,
    choose,
    read_cases,
)
from service.runs.comparisons.evaluation import grade_cases
from service.runs.comparisons.grading import (
    CaseScores,
    ComparisonOutcome,
    GradedCase,
    answered_cases,
    case_scores,
    spending,
    summarize,
)
from service.runs.comparisons.options import ComparisonPlanOptions
from service.runs.comparisons.plan import ComparisonPlan
from service.runs.comparisons.stored import stored_options
from service.runs.plan import Answer, Plan
from service.runs.record import RunError, end
from service.storage import Storage
from workers.context import Context
from workers.runs.threads import in_thread

ROWS_PER_INSERT = 500

FILE_DELETED = RunError(code="file_not_found", message="The file has been deleted. Upload it again.", param="file")


class _CasesTooLarge(Exception):
    """The chosen examples exceed `MAX_CASES_BYTES` or `MAX_CASES_VALUES`."""


async def open_plan(ctx: Context, run: Run) -> Plan | RunError:
    """The plan over the chosen examples of the file, or why there can be none."""
    options = stored_options(run)
    async with ctx.db.worker() as session:
        file = await session.get(File, run.input_file_id)
    if file is None or file.deleted_at is not None:
        return FILE_DELETED
    try:
        cases = await in_thread(_cases, ctx.storage, file.storage_key, options)
    except FileNotFoundError:
        return FILE_DELETED
    except _CasesTooLarge:
        return RunError(
            code="too_many_examples",
            message=f"The chosen examples have more than {MAX_CASES_BYTES >> 20} MB or {MAX_CASES_VALUES:,} JSON "
            "values. Give a smaller `max_examples`.",
            param="max_examples",
        )
    except ExampleTooLarge as too_large:
        return RunError(code="invalid_file_format", message=str(too_large), param="file")
    if not cases:
        return RunError(
            code="invalid_file_format", message="No example of the file has an answer to compare with.", param="file"
        )
    return await in_thread(ComparisonPlan, options, cases)


async def review(ctx: Context, run: Run, plan: ComparisonPlan, answers: Mapping[str, Answer]) -> RunError | None:
    """Nothing: a plan of a comparison takes answers as they are."""
    return None


async def conclude(ctx: Context, claimed: Claim[Run], plan: ComparisonPlan, error: RunError | None) -> None:
    """Grade the complete cases, record them and end the run; with `error`, or at a limit of evaluations, as failed."""
    run = claimed.row
    values: dict[str, Any] = {"done": plan.done, "total": plan.total}
    try:
        graded, outcome = await _graded(ctx, run, plan)
    except LimitReached as reached:
        limit = RunError.limit_reached(ctx.evaluator.explain(reached), param="graders")
        async with ctx.db.worker() as session:
            await end(session, claimed, f"Ended without grades: {limit.message}", values, error=limit)
        return
    fault_points.point("run.graded")
    values["outcome"] = msgspec.to_builtins(outcome)
    async with ctx.db.worker() as session:
        for begin in range(0, len(graded), ROWS_PER_INSERT):
            some = enumerate(graded[begin : begin + ROWS_PER_INSERT], start=begin)
            await session.execute(insert(ComparisonCase), [_row(run, place, each) for place, each in some])
        message = f"Ended: {outcome.cases:,} of {plan.total:,} cases are graded"
        await end(session, claimed, message, values, error=error)
    fault_points.point("run.ended")


async def _graded(ctx: Context, run: Run, plan: ComparisonPlan) -> tuple[list[GradedCase], ComparisonOutcome]:
    graders = plan.options.graders
    graded: list[GradedCase] = []
    scores: list[CaseScores] = []
    async for some in grade_cases(ctx.evaluator, graders, answered_cases(plan), project_id=run.project_id):
        graded += some
        scores += [case_scores(each) for each in some]
    outcome = await in_thread(_outcome, plan, scores)
    return graded, outcome


def _outcome(plan: ComparisonPlan, scores: list[CaseScores]) -> ComparisonOutcome:
    return summarize(plan.graders, scores, spending(plan), seed=plan.options.seed)


def _cases(storage: Storage, key: str, options: ComparisonPlanOptions) -> Sequence[Case]:
    chosen = choose(options.file_examples, options.examples, options.seed)
    cases: list[Case] = []
    size_bytes = values = 0
    for case in read_cases(storage.read_sync(key), chosen, options.format, turn=options.turn, stop=options.stop):
        cases.append(case)
        encoded = msgspec.json.encode((case.body, case.reference))
        size_bytes += len(encoded)
        values += sum(encoded.count(symbol) for symbol in (b",", b"[", b"{"))
        if size_bytes > MAX_CASES_BYTES or values > MAX_CASES_VALUES:
            raise _CasesTooLarge
    return cases


def _row(run: Run, place: int, graded: GradedCase) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "place": place,
        "project_id": run.project_id,
        "line": graded.line,
        "turn": graded.turn,
        "offset_bytes": graded.offset,
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
