"""Administrators' actions that set limits. Each runs in its caller's transaction and writes an audit entry."""

from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import ProjectLimits, RateLimit
from service.errors import NotFound
from service.identity import audit
from service.identity.audit import Actor
from service.identity.queries import check_active, get_active_project, get_project
from service.limits.scheduling_pass import request_scheduling_pass
from service.limits.schemas import ID_PREFIX, UpdateLimits, UpdateRateLimit

PROJECT_COLUMNS = ("max_active_jobs", "max_queued_jobs")
"""The limits that are columns of the project's own row."""


async def set_limits(session: AsyncSession, actor: Actor, project_id: str, request: UpdateLimits) -> None:
    """Set the given limits. A limit below its current usage refuses new work and affects nothing that exists.

    Raises `NotFound`, and `InvalidRequest` for an archived project.
    """
    project = await get_project(session, project_id, lock="exclusive")
    check_active(project)
    given = _given(request)
    for name in PROJECT_COLUMNS:
        if name in given:
            setattr(project, name, given[name])
    others = {name: value for name, value in given.items() if name not in PROJECT_COLUMNS}
    if others:
        await session.execute(
            insert(ProjectLimits)
            .values(project_id=project_id, **others)
            .on_conflict_do_update(index_elements=["project_id"], set_=others)
        )
    await session.flush()
    await audit.record(
        session, actor, "project_limits.updated", project_id=project_id, resource_id=project_id, data=given
    )
    await request_scheduling_pass(session)


async def set_rate_limit(
    session: AsyncSession,
    actor: Actor,
    project_id: str,
    rate_limit_id: str,
    request: UpdateRateLimit,
    models: list[str],
) -> str:
    """Set the given values of the rate limit of one of `models`. Returns the model. Raises as `set_limits`."""
    await get_active_project(session, project_id)
    model = rate_limit_id.removeprefix(ID_PREFIX)
    if not rate_limit_id.startswith(ID_PREFIX) or model not in models:
        raise NotFound(
            f"No such rate limit in this project: {rate_limit_id}",
            param="rate_limit_id",
            code="rate_limit_not_found",
        )
    given = _given(request)
    if given:
        await session.execute(
            insert(RateLimit)
            .values(project_id=project_id, model=model, **given)
            .on_conflict_do_update(index_elements=["project_id", "model"], set_=given)
        )
    await audit.record(
        session, actor, "rate_limit.updated", project_id=project_id, resource_id=rate_limit_id, data=given
    )
    return model


def _given(request: msgspec.Struct) -> dict[str, Any]:
    values = {name: getattr(request, name) for name in request.__struct_fields__}
    return {name: value for name, value in values.items() if value is not UNSET}
