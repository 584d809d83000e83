"""The bare routes that reads are compared with: the same documents, without keys, limits, scopes, metrics or logs.

Written as one would write a small service: a statement for each query, built once, on SQLAlchemy Core; a connection and
its transaction for each request; the documents' structs and functions are the API's own. The login is the database's owner,
for which row-level security does not apply.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from litestar import Litestar, Request, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from sqlalchemy import bindparam, or_, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from service.catalogue import models_file
from service.catalogue.base_models import Catalogue
from service.database.engine import asyncpg_url
from service.database.tables import CheckpointPermission, File, Job, Model, ModelAlias, PriceOverride, UpstreamAccount
from service.datasets.files.queries import FileRow
from service.datasets.files.schemas import FileObject, show_file
from service.http.pagination import page_of
from service.http.wire_types import Page, unix
from service.jobs.presentation import show_job
from service.jobs.queries import JOB
from service.jobs.schemas import FineTuningJob
from service.models.schemas import ModelList, ModelObject
from service.settings import Settings

PROJECT = bindparam("project_id")


def _named(table: Any, row: Any) -> list[Any]:
    return [getattr(table, name).label(name) for name in row._fields]


_FILES = (
    select(*_named(File, FileRow))
    .where(File.project_id == PROJECT, File.deleted_at.is_(None))
    .order_by(File.id.desc())
    .limit(bindparam("rows"))
)

_USABLE = (Model.project_id == PROJECT) | Model.name.in_(
    select(CheckpointPermission.model).where(CheckpointPermission.project_id == PROJECT)
)
_TUNED = (
    select(Model.name, Model.base_model, Model.account_id, Model.created_at, Job.model.label("parent"))
    .outerjoin(Job, (Job.project_id == Model.project_id) & (Job.id == Model.job_id))
    .where(_USABLE, Model.kind == "model", Model.deleted_at.is_(None))
    .order_by(Model.created_at.desc(), Model.name)
)
_ALIASES = (
    select(ModelAlias.name, ModelAlias.model, ModelAlias.created_at, Model.base_model)
    .outerjoin(Model, _USABLE & (Model.name == ModelAlias.model) & Model.deleted_at.is_(None))
    .where(ModelAlias.project_id == PROJECT)
    .order_by(ModelAlias.id.desc())
)
_ACCOUNTS = select(UpstreamAccount.id, UpstreamAccount.models).where(
    or_(UpstreamAccount.project_id.is_(None), UpstreamAccount.project_id == PROJECT),
    UpstreamAccount.deleted_at.is_(None),
)
_PRICES = select(PriceOverride.model, PriceOverride.since, PriceOverride.micros_per_million, PriceOverride.source)


@dataclass(frozen=True, slots=True)
class _Bare:
    engine: AsyncEngine
    catalogue: Catalogue
    organization_id: str


@get("/v1/fine_tuning/jobs/{job_id:str}")
async def get_job(request: Request[Any, Any, Any], job_id: FromPath[str]) -> FineTuningJob:
    """One job."""
    bare = _bare(request)
    async with bare.engine.connect() as connection:
        parameters = {"project_id": _project(request), "job_id": job_id}
        found = (await connection.execute(JOB.statement, parameters)).one_or_none()
    if found is None:
        raise NotFoundException
    row, names = JOB.row(*found)
    return show_job(row, names, None, organization=bare.organization_id, now=dt.datetime.now(dt.UTC))


@get("/v1/files")
async def get_files(request: Request[Any, Any, Any], limit: int) -> Page[FileObject]:
    """The newest files."""
    async with _bare(request).engine.connect() as connection:
        rows = (await connection.execute(_FILES, {"project_id": _project(request), "rows": limit + 1})).all()
    return page_of(rows, limit, show_file, lambda file: file.id)  # type: ignore[arg-type]  # the columns that it reads


@get("/v1/models")
async def get_models(request: Request[Any, Any, Any]) -> ModelList:
    """Aliases, tuned models and base models; no account has a shutdown date here, so none is shown."""
    bare, project = _bare(request), {"project_id": _project(request)}
    async with bare.engine.connect() as connection:
        tuned = (await connection.execute(_TUNED, project)).all()
        aliases = (await connection.execute(_ALIASES, project)).all()
        (await connection.execute(_ACCOUNTS, project)).all()
        (await connection.execute(_PRICES)).all()
    owner = bare.organization_id
    own = [_model(row.name, unix(row.created_at), owner, row.base_model or row.model, row.model) for row in aliases] + [
        _model(row.name, unix(row.created_at), owner, row.base_model, row.parent) for row in tuned
    ]
    return ModelList(data=own + [_model(name, 0, "system", root, None) for name, root in _base_models(bare.catalogue)])


@get("/livez")
async def get_livez() -> dict[str, str]:
    """A document without a query."""
    return {"status": "ok"}


def create_bare_app(settings: Settings) -> Litestar:
    """The bare routes as an app, with as many connections as the API has."""
    engine = create_async_engine(
        asyncpg_url(settings.owner_database_url), pool_size=settings.database_pool_size, max_overflow=0
    )
    app = Litestar([get_job, get_files, get_models, get_livez], openapi_config=None, logging_config=None)
    app.state.bare = _Bare(engine, models_file.load(), settings.organization_id)
    return app


def _bare(request: Request[Any, Any, Any]) -> _Bare:
    bare: _Bare = request.app.state.bare
    return bare


def _project(request: Request[Any, Any, Any]) -> str:
    """The project of the request, which nobody checks."""
    return request.headers["x-project"]


def _base_models(catalogue: Catalogue) -> list[tuple[str, str]]:
    return [(name, model.name) for name in catalogue.names() if (model := catalogue.find(name)) is not None]


def _model(name: str, created: int, owner: str, root: str, parent: str | None) -> ModelObject:
    return ModelObject(id=name, created=created, owned_by=owner, root=root, parent=parent, shutdown_date=None)
