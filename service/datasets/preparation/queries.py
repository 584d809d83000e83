"""Reads dataset preparations within one project."""

from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import DatasetPreparation
from service.datasets.preparation.schemas import ListPreparations
from service.errors import NotFound, unknown_cursor


async def get_preparation(
    session: AsyncSession, project_id: str, preparation_id: str, *, lock: bool = False
) -> DatasetPreparation:
    """The preparation. With `lock` it cannot change before the transaction ends. Raises `NotFound`."""
    query = select(DatasetPreparation).where(
        DatasetPreparation.project_id == project_id, DatasetPreparation.id == preparation_id
    )
    row = (await session.scalars(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise NotFound(
            f"No such dataset preparation: {preparation_id}", param="id", code="dataset_preparation_not_found"
        )
    return row


async def list_preparations(
    session: AsyncSession, project_id: str, query: ListPreparations
) -> Sequence[DatasetPreparation]:
    """Up to `limit + 1` preparations, newest first. Raises `InvalidRequest` for an unknown cursor."""
    table = DatasetPreparation
    statement = select(table).where(table.project_id == project_id)
    if query.file is not None:
        files = (table.input_file_id, table.training_file_id, table.validation_file_id)
        statement = statement.where(or_(*[column == query.file for column in files]))
    if query.after is not None:
        known = await session.scalar(select(table.id).where(table.project_id == project_id, table.id == query.after))
        if known is None:
            raise unknown_cursor(query.after)
        statement = statement.where(table.id < query.after)
    return (await session.scalars(statement.order_by(table.id.desc().nulls_last()).limit(query.limit + 1))).all()
