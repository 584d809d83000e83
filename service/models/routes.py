"""`/v1/models`: list and retrieve. Deletion is in `deletion/`."""

import datetime as dt
from collections.abc import Sequence

from litestar import get
from litestar.params import FromPath

from service.billing.queries import read_prices
from service.catalogue.base_models import BaseModel, Catalogue
from service.catalogue.lookup import model_not_found
from service.database.engine import Database
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.http.wire_types import unix
from service.identity.requests import caller
from service.models.aliases.queries import AliasRow, read_alias, read_aliases
from service.models.base_models import possible_accounts, show_base
from service.models.queries import ModelRow, read_model, read_models
from service.models.schemas import ModelList, ModelObject
from service.settings import Settings
from service.upstreams.capabilities import matches, provider_at, shutdown_of
from service.upstreams.queries import AccountRow, read_usable_accounts


@get("/models", summary="List models", opt=operation(returns=ModelList))
async def get_models(request: ApiRequest) -> ModelList:
    """The base models that the project can train or call today, and its own models: tuned models and aliases."""
    who = caller(request)
    async with resource(request, Database).read(who.project_id) as reader:
        tuned = await read_models(reader, who.project_id)
        aliases = await read_aliases(reader, who.project_id)
        accounts = await read_usable_accounts(reader, who.project_id)
        prices = await read_prices(reader)
    own = [_show_alias(request, row, accounts) for row in aliases] + [
        _show_tuned(request, row, accounts) for row in tuned
    ]
    now = dt.datetime.now(dt.UTC)
    bases = [
        show_base(name, model, accounts, now=now, prices=prices)
        for model in resource(request, Catalogue).models
        if possible_accounts(model, accounts, now)
        for name in (model.name, *model.aliases)
    ]
    return ModelList(data=own + bases)


@get("/models/{name:str}", summary="Retrieve a model", opt=operation(returns=ModelObject))
async def get_model(request: ApiRequest, name: FromPath[str]) -> ModelObject:
    """One model with its `shutdown_date`."""
    who = caller(request)
    base = resource(request, Catalogue).find(name)
    async with resource(request, Database).read(who.project_id) as reader:
        accounts = await read_usable_accounts(reader, who.project_id)
        if base is not None:
            prices = await read_prices(reader)
            return show_base(name, base, accounts, now=dt.datetime.now(dt.UTC), prices=prices)
        tuned = await read_model(reader, who.project_id, name)
        alias = await read_alias(reader, who.project_id, name) if tuned is None else None
    if tuned is not None:
        return _show_tuned(request, tuned, accounts)
    if alias is not None:
        return _show_alias(request, alias, accounts)
    raise model_not_found(name)


def _shutdown_date(base: BaseModel | None, accounts: Sequence[AccountRow], account_id: str | None) -> str | None:
    """The shutdown date of a tuned model, or of an alias of any, at the account that has it, or that serve its base."""
    if base is None:
        return None
    names = (base.name, *base.aliases)
    serving = [
        account
        for account in accounts
        if (matches(account.models, names) if account_id is None else account.id == account_id)
    ]
    shutdown = shutdown_of(base, [provider_at(account) for account in serving])
    return shutdown.stops.isoformat() if shutdown else None


def _show_tuned(request: ApiRequest, row: ModelRow, accounts: Sequence[AccountRow]) -> ModelObject:
    return ModelObject(
        id=row.name,
        created=unix(row.created_at),
        owned_by=resource(request, Settings).organization_id,
        root=row.base_model,
        parent=row.parent,
        shutdown_date=_shutdown_date(resource(request, Catalogue).find(row.base_model), accounts, row.account_id),
    )


def _show_alias(request: ApiRequest, row: AliasRow, accounts: Sequence[AccountRow]) -> ModelObject:
    root = row.base_model or row.model
    return ModelObject(
        id=row.name,
        created=unix(row.created_at),
        owned_by=resource(request, Settings).organization_id,
        root=root,
        parent=row.model,
        shutdown_date=_shutdown_date(resource(request, Catalogue).find(root), accounts, row.account_id),
    )


ROUTES = [get_models, get_model]
