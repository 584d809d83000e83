"""Queries for the cases of a comparison, within one project."""

from collections.abc import Mapping, Sequence

from sqlalchemy import ARRAY, Text, any_, cast, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import ComparisonCase, Run, RunCall
from service.errors import InvalidRequest, unknown_cursor
from service.runs.comparisons.grading import TIE
from service.runs.comparisons.options import ComparisonPlanOptions
from service.runs.comparisons.request_schemas import ListCases
from service.runs.comparisons.stored import stored_options


async def list_cases(session: AsyncSession, run: Run, query: ListCases, *, limit: int) -> Sequence[ComparisonCase]:
    """Up to `limit` cases after the cursor, in the order of the file.

    Raises `InvalidRequest` for an unknown cursor, and for a grader or model that the comparison does not have.
    """
    table = ComparisonCase
    statement = select(table).where(table.project_id == run.project_id, table.run_id == run.id)
    options = stored_options(run)
    models = {each.requested: number for number, each in enumerate(options.models)}
    if query.failed is not None or query.model is not None:
        statement = statement.where(table.failed.op("&&")(cast(_failures(options, models, query), ARRAY(Text))))
    if query.winner == TIE:
        statement = statement.where(table.winner.is_(None))
    elif query.winner is not None:
        statement = statement.where(table.winner == _number(models, query.winner, "winner"))
    if query.after is not None:
        place = query.after.removeprefix(case_id(run, ""))
        if case_id(run, place) != query.after or not await _exists(session, run, place):
            raise unknown_cursor(query.after)
        statement = statement.where(table.place > int(place))
    return (await session.scalars(statement.order_by(table.place).limit(limit))).all()


async def answers_of(session: AsyncSession, run: Run, keys: Sequence[str]) -> Mapping[str, RunCall]:
    """The calls of a run, by key; pruned calls are missing."""
    rows = await session.scalars(
        select(RunCall).where(
            RunCall.project_id == run.project_id,
            RunCall.run_id == run.id,
            RunCall.key == any_(cast(list(keys), ARRAY(Text))),
        )
    )
    return {row.key: row for row in rows}


def case_id(run: Run, place: int | str) -> str:
    """The id of a case, which also serves as a cursor."""
    return f"{run.id}.c{place}"


def _failures(options: ComparisonPlanOptions, models: Mapping[str, int], query: ListCases) -> list[str]:
    graders = list(options.by_name)
    if query.failed is not None and query.failed not in graders:
        raise InvalidRequest(
            f"No grader '{query.failed[:64]}' in this comparison: {', '.join(graders)}.",
            param="failed",
            code="invalid_value",
        )
    numbers = models.values() if query.model is None else [_number(models, query.model, "model")]
    return [f"{number}/{name}" for number in numbers for name in ([query.failed] if query.failed else graders)]


def _number(models: Mapping[str, int], name: str, param: str) -> int:
    if name not in models:
        ties = f", or {TIE}" if param == "winner" else ""
        raise InvalidRequest(
            f"No model '{name[:128]}' in this comparison: {', '.join(models)}{ties}.", param=param, code="invalid_value"
        )
    return models[name]


async def _exists(session: AsyncSession, run: Run, place: str) -> bool:
    if not (place.isascii() and place.isdigit() and len(place) <= 9 and place == str(int(place))):
        return False
    table = ComparisonCase
    known = select(table.place).where(
        table.project_id == run.project_id, table.run_id == run.id, table.place == int(place)
    )
    return await session.scalar(known) is not None
