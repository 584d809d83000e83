"""`/v1/models`, `/v1/chat/completions` and `/v1/completions`; deleting is in `deleting`."""

from collections.abc import Sequence

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Stream

from service.catalogue.base_models import BaseModel
from service.catalogue.lookup import no_such_model
from service.database.tables import Model, ModelAlias, UpstreamAccount
from service.http.bodies import json_body
from service.http.operation import operation
from service.http.wire_types import unix
from service.inference.calls import ask
from service.inference.requests import Directory, read_question
from service.limits.rates import estimated_tokens
from service.models.aliases.queries import all_standing, standing_for
from service.models.queries import find_model, list_models, trained_from
from service.models.schemas import ModelList, ModelObject
from service.services import ApiRequest, Services, caller, services
from service.upstreams.capabilities import matches, provider_at, shutdown_of
from service.upstreams.queries import usable_accounts

MAX_INFERENCE_BYTES = 64 * 1024 * 1024


@get("/models", summary="List models", opt=operation(returns=ModelList))
async def get_models(request: ApiRequest) -> ModelList:
    """The base models that can be asked and trained, and the project's own: tuned ones, and its aliases."""
    here, who = services(request), caller(request)
    async with here.db.project(who.project_id) as session:
        tuned = await list_models(session, who.project_id)
        parents = await trained_from(session, who.project_id, [row.name for row in tuned])
        aliases = await all_standing(session, who.project_id)
        accounts = await usable_accounts(session, who.project_id)
    own = [_show_alias(here, *each, accounts) for each in aliases] + [
        _show_tuned(here, row, accounts, parents.get(row.name)) for row in tuned
    ]
    return ModelList(data=own + [_show_base(name, model, accounts) for name, model in _base_models(here)])


@get("/models/{name:str}", summary="Retrieve a model", opt=operation(returns=ModelObject))
async def get_model(request: ApiRequest, name: FromPath[str]) -> ModelObject:
    """One model with its `shutdown_date`."""
    here, who = services(request), caller(request)
    base = here.catalogue.find(name)
    async with here.db.project(who.project_id) as session:
        accounts = await usable_accounts(session, who.project_id)
        if base is not None:
            return _show_base(name, base, accounts)
        row = await find_model(session, who.project_id, name)
        standing = await standing_for(session, who.project_id, name) if row is None else None
        parents = await trained_from(session, who.project_id, [name])
    if row is not None:
        return _show_tuned(here, row, accounts, parents.get(name))
    if standing is not None:
        return _show_alias(here, *standing, accounts)
    raise no_such_model(name)


@post(
    "/chat/completions",
    status_code=200,
    request_max_body_size=MAX_INFERENCE_BYTES,
    summary="Create a chat completion",
    opt=operation(body=dict, returns=dict),
)
async def post_chat(request: ApiRequest) -> Response[bytes] | Stream:
    """Ask a base model or one of the project's own."""
    return await _complete(request, "/chat/completions")


@post(
    "/completions",
    status_code=200,
    request_max_body_size=MAX_INFERENCE_BYTES,
    summary="Create a completion",
    opt=operation(body=dict, returns=dict),
)
async def post_completion(request: ApiRequest) -> Response[bytes] | Stream:
    """The legacy call, for prompt and completion models."""
    return await _complete(request, "/completions")


async def _complete(request: ApiRequest, path: str) -> Response[bytes] | Stream:
    here, who = services(request), caller(request)
    question = await read_question(
        await json_body(request),
        path=path,
        directory=Directory(db=here.db, catalogue=here.catalogue, accounts=here.accounts),
        project_id=who.project_id,
    )
    limited = question.model if question.base is None else question.base.name
    await here.rates.admit_question(request.scope, who, model=limited, tokens=estimated_tokens(question.body))
    return await ask(
        question,
        meter=here.meter,
        api_key_id=who.key_id,
        seconds=here.settings.inference_timeout_seconds,
    )


def _base_models(here: Services) -> list[tuple[str, BaseModel]]:
    return [(name, model) for name in here.catalogue.names() if (model := here.catalogue.find(name)) is not None]


def _shutdown_date(base: BaseModel | None, accounts: Sequence[UpstreamAccount], tuned: Model | None) -> str | None:
    """When a model is gone: a tuned one with the account that has it, a base model with the last that serves it."""
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


def _show_tuned(here: Services, row: Model, accounts: Sequence[UpstreamAccount], parent: str | None) -> ModelObject:
    base = here.catalogue.find(row.base_model)
    return ModelObject(
        id=row.name,
        created=unix(row.created_at),
        owned_by=here.settings.organization_id,
        root=row.base_model,
        parent=parent,
        shutdown_date=_shutdown_date(base, accounts, row),
    )


def _show_alias(
    here: Services, alias: ModelAlias, tuned: Model | None, accounts: Sequence[UpstreamAccount]
) -> ModelObject:
    base = here.catalogue.find(alias.model if tuned is None else tuned.base_model)
    return ModelObject(
        id=alias.name,
        created=unix(alias.created_at),
        owned_by=here.settings.organization_id,
        root=alias.model if tuned is None else tuned.base_model,
        parent=alias.model,
        shutdown_date=_shutdown_date(base, accounts, tuned),
    )


ROUTES = [get_models, get_model, post_chat, post_completion]
