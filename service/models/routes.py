"""`/v1/models`: list and retrieve. Deletion is in `deletion/`."""

from collections.abc import Sequence

from litestar import get
from litestar.params import FromPath

from service.catalogue.base_models import BaseModel, Catalogue
from service.catalogue.lookup import model_not_found
from service.database.engine import Database
from service.database.tables import Model, ModelAlias, UpstreamAccount
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.http.wire_types import unix
from service.identity.requests import caller
from service.models.aliases.queries import find_alias_target, list_alias_targets
from service.models.queries import find_model, list_models, parent_models
from service.models.schemas import ModelList, ModelObject
from service.settings import Settings
from service.upstreams.capabilities import matches, provider_at, shutdown_of
from service.upstreams.queries import usable_accounts


@get("/models", summary="List models", opt=operation(returns=ModelList))
async def get_models(request: ApiRequest) -> ModelList:
    """The base models, and the project's own models: tuned models and aliases."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        tuned = await list_models(session, who.project_id)
        parents = await parent_models(session, who.project_id, [row.name for row in tuned])
        aliases = await list_alias_targets(session, who.project_id)
        accounts = await usable_accounts(session, who.project_id)
    own = [_show_alias(request, *each, accounts) for each in aliases] + [
        _show_tuned(request, row, accounts, parents.get(row.name)) for row in tuned
    ]
    return ModelList(data=own + [_show_base(name, model, accounts) for name, model in _base_models(request)])


@get("/models/{name:str}", summary="Retrieve a model", opt=operation(returns=ModelObject))
async def get_model(request: ApiRequest, name: FromPath[str]) -> ModelObject:
    """One model with its `shutdown_date`."""
    who = caller(request)
    base = resource(request, Catalogue).find(name)
    async with resource(request, Database).project(who.project_id) as session:
        accounts = await usable_accounts(session, who.project_id)
        if base is not None:
            return _show_base(name, base, accounts)
        row = await find_model(session, who.project_id, name)
        standing = await find_alias_target(session, who.project_id, name) if row is None else None
        parents = await parent_models(session, who.project_id, [name])
    if row is not None:
        return _show_tuned(request, row, accounts, parents.get(name))
    if standing is not None:
        return _show_alias(request, *standing, accounts)
    raise model_not_found(name)


def _base_models(request: ApiRequest) -> list[tuple[str, BaseModel]]:
    catalogue = resource(request, Catalogue)
    return [(name, model) for name in catalogue.names() if (model := catalogue.find(name)) is not None]


def _shutdown_date(base: BaseModel | None, accounts: Sequence[UpstreamAccount], tuned: Model | None) -> str | None:
    """The shutdown date: of a tuned model at the account that has it, of a base model at the last account that serves
    it."""
    if base is None:
        return None
    names = (base.name, *base.aliases)
    serving = [
        account
        for account in accounts
        if (matches(account.models, names) if tuned is None else account.id == tuned.account_id)
    ]
    shutdown = shutdown_of(base, [provider_at(account) for account in serving])
    return shutdown.stops.isoformat() if shutdown else None


def _show_base(name: str, model: BaseModel, accounts: Sequence[UpstreamAccount]) -> ModelObject:
    return ModelObject(
        id=name,
        created=0,
        owned_by="system",
        root=model.name,
        parent=None,
        shutdown_date=_shutdown_date(model, accounts, None),
    )


def _show_tuned(
    request: ApiRequest, row: Model, accounts: Sequence[UpstreamAccount], parent: str | None
) -> ModelObject:
    base = resource(request, Catalogue).find(row.base_model)
    return ModelObject(
        id=row.name,
        created=unix(row.created_at),
        owned_by=resource(request, Settings).organization_id,
        root=row.base_model,
        parent=parent,
        shutdown_date=_shutdown_date(base, accounts, row),
    )


def _show_alias(
    request: ApiRequest, alias: ModelAlias, tuned: Model | None, accounts: Sequence[UpstreamAccount]
) -> ModelObject:
    base = resource(request, Catalogue).find(alias.model if tuned is None else tuned.base_model)
    return ModelObject(
        id=alias.name,
        created=unix(alias.created_at),
        owned_by=resource(request, Settings).organization_id,
        root=alias.model if tuned is None else tuned.base_model,
        parent=alias.model,
        shutdown_date=_shutdown_date(base, accounts, tuned),
    )


ROUTES = [get_models, get_model]
