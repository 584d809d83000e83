"""Generations: building the plan of a run, and storing its examples as a file.

The object is announced before it is written; the file, its report and the end of the run are one fenced transaction.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from service import fault_points
from service.database.leases import Claim
from service.database.tables import Run
from service.datasets.files.actions import NewFile, create_file, record_pending_upload
from service.datasets.files.queries import FINE_TUNE
from service.ids import new_id
from service.processes.guard import LimitReached
from service.runs.generations.evaluation import call_faults
from service.runs.generations.options import GenerationPlanOptions
from service.runs.generations.plan import GenerationPlan, calls_of_answer, item_of
from service.runs.generations.stored import stored_options
from service.runs.plan import Answer, Plan
from service.runs.record import RunError, end
from workers.context import Context

ROWS_PER_CHUNK = 500


async def open_plan(ctx: Context, run: Run) -> Plan | RunError:
    """The plan, built from the options alone."""
    return ReviewedPlan(stored_options(run))


class ReviewedPlan(GenerationPlan):
    """A plan that reads the faults of calls from `faults`, by the keys of their calls; `review` finds them."""

    def __init__(self, options: GenerationPlanOptions) -> None:
        super().__init__(options, lambda key, function_name, answer: self.faults[key])
        self.options = options
        self.faults: dict[str, str | None] = {}


async def review(ctx: Context, run: Run, plan: ReviewedPlan, answers: Mapping[str, Answer]) -> RunError | None:
    """Have an evaluation process check the calls in these answers. Returns why it could not."""
    options = plan.options
    calls = {
        key: (function["name"], calls_of_answer(answer))
        for key, answer in answers.items()
        if key.startswith("answer/") and (function := options.tool_of(item_of(key))) is not None
    }
    if not calls:
        return None
    try:
        faults = await call_faults(ctx.evaluator, options.tools or [], calls.values(), project_id=run.project_id)
    except LimitReached as reached:
        return RunError.limit_reached(ctx.evaluator.explain(reached), param="tools")
    plan.faults.update(zip(calls, faults, strict=True))
    return None


async def conclude(ctx: Context, claimed: Claim[Run], plan: GenerationPlan, error: RunError | None) -> None:
    """Store the examples as a file and end the run; with `error`, as failed."""
    run, outcome = claimed.row, plan.outcome()
    values: dict[str, Any] = {"done": plan.done, "total": plan.total, "outcome": msgspec.to_builtins(outcome)}
    if not outcome.examples:
        nothing_generated = RunError(
            code="nothing_generated",
            message="No answer could be used: `outcome.dropped` counts why. Change the prompts, or ask another model.",
        )
        async with ctx.db.worker() as session:
            await end(session, claimed, "Ended without an example", values, error=error or nothing_generated)
        fault_points.point("run.ended")
        return
    key = f"{run.project_id}/{new_id('object-')}"
    async with ctx.db.worker() as session:
        await record_pending_upload(session, run.project_id, key)
    fault_points.point("run.announced")
    stored = await ctx.storage.put(key, _lines(plan.rows()))
    fault_points.point("run.stored")
    async with ctx.db.worker() as session:
        file = await create_file(
            session,
            project_id=run.project_id,
            storage_key=key,
            new_file=NewFile(filename=run.options["filename"], purpose=FINE_TUNE, expires_after_seconds=None),
            stored=stored,
            model=ctx.catalogue.default,
        )
        result = f"{outcome.examples:,} of {plan.total:,} examples are in {file.id}"
        if error is not None:
            error = replace(error, message=f"{error.message} {result}.")
        await end(session, claimed, f"Ended: {result}", {**values, "output_file_id": file.id}, error=error)
    fault_points.point("run.ended")


async def _lines(rows: Iterable[dict[str, Any]]) -> AsyncIterator[bytes]:
    batch: list[bytes] = []
    for row in rows:
        batch.append(msgspec.json.encode(row) + b"\n")
        if len(batch) == ROWS_PER_CHUNK:
            yield b"".join(batch)
            batch = []
    if batch:
        yield b"".join(batch)
