"""Queries for runs within one project, and for the recorded calls with which a worker resumes a run."""

from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import OpenInference, Run, RunCall
from service.errors import NotFound, unknown_cursor
from service.http.wire_types import PageQuery
from service.runs.plan import Answer
from service.states import RunKind

_ANSWERS_AT_ONCE = 100


class ListRuns(PageQuery, frozen=True, kw_only=True):
    """The query of a list; `file` is the id of an input or output file."""

    file: str | None = None


async def get_run(session: AsyncSession, project_id: str, kind: RunKind, run_id: str, *, lock: bool = False) -> Run:
    """The run; with `lock`, its row is locked until the transaction ends. Raises `NotFound`."""
    query = select(Run).where(Run.project_id == project_id, Run.kind == kind, Run.id == run_id)
    row = (await session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise _no_such(kind, run_id)
    return row


async def list_runs(session: AsyncSession, project_id: str, kind: RunKind, query: ListRuns) -> Sequence[Run]:
    """Up to `limit + 1` runs of a kind, newest first. Raises `InvalidRequest` for an unknown cursor."""
    statement = select(Run).where(Run.project_id == project_id, Run.kind == kind)
    if query.file is not None:
        statement = statement.where(or_(Run.input_file_id == query.file, Run.output_file_id == query.file))
    if query.after is not None:
        known = select(Run.id).where(Run.project_id == project_id, Run.kind == kind, Run.id == query.after)
        if await session.scalar(known) is None:
            raise unknown_cursor(query.after)
        statement = statement.where(Run.id < query.after)
    return (await session.scalars(statement.order_by(Run.id.desc().nulls_last()).limit(query.limit + 1))).all()


async def recorded_answers(session: AsyncSession, run: Run) -> dict[str, Answer]:
    """The answers of a run, by the key of their call. They are read some at a time, since there can be 100 MB."""
    query = (
        select(
            RunCall.key,
            RunCall.message,
            RunCall.refusal,
            RunCall.finish_reason,
            RunCall.input_tokens,
            RunCall.output_tokens,
            RunCall.cost_micros,
        )
        .where(RunCall.project_id == run.project_id, RunCall.run_id == run.id)
        .order_by(RunCall.key)
        .execution_options(yield_per=_ANSWERS_AT_ONCE)
    )
    return {
        row.key: Answer(
            message=row.message,
            refusal=row.refusal,
            finish_reason=row.finish_reason,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cost_micros=row.cost_micros,
        )
        async for row in await session.stream(query)
    }


async def open_reservations(session: AsyncSession, run: Run) -> dict[str, str]:
    """The calls of a run whose reservation is unresolved: the subject in the ledger, by the key of the call."""
    rows = await session.execute(
        select(OpenInference.call_key, OpenInference.subject).where(
            OpenInference.project_id == run.project_id, OpenInference.run_id == run.id
        )
    )
    return {key: subject for key, subject in rows if key is not None}


def _no_such(kind: RunKind, run_id: str) -> NotFound:
    match kind:
        case "generation":
            return NotFound(f"No such dataset generation: {run_id}", param="id", code="dataset_generation_not_found")
        case "comparison":
            return NotFound(f"No such model comparison: {run_id}", param="id", code="model_comparison_not_found")
