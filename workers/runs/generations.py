"""Generations: building the plan of a run, and storing its examples as a file.

The object is announced before it is written; the file, its report and the end of the run are one fenced transaction.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any

import msgspec

from service import fault_points
from service.database.leases import Claim
from service.database.tables import Run
from service.datasets.files.actions import NewFile, create_file, record_pending_upload
from service.datasets.files.queries import FINE_TUNE
from service.ids import new_id
from service.runs.generations.plan import GenerationPlan
from service.runs.generations.stored import stored_options
from service.runs.plan import Plan
from service.runs.record import RunError, end
from workers.context import Context

ROWS_PER_CHUNK = 500


async def open_plan(ctx: Context, run: Run) -> Plan | RunError:
    """The plan, built from the options alone."""
    return GenerationPlan(stored_options(run))


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
