"""The condition that decides which tuned models a project may use."""

from sqlalchemy import BindParameter, ColumnElement, select

from service.database.tables import CheckpointPermission, Model


def usable(project_id: str | BindParameter[str]) -> ColumnElement[bool]:
    """The condition that the project owns a model, or that its use was granted (`service/models/permissions/`)."""
    granted = select(CheckpointPermission.model).where(CheckpointPermission.project_id == project_id)
    return (Model.project_id == project_id) | Model.name.in_(granted)
