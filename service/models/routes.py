"""`/v1/models`, `/v1/chat/completions` and `/v1/completions`."""

from litestar import Response, delete, get, post
from litestar.params import FromPath
from litestar.response import Stream

from service.errors import Conflict, NotFound
from service.http.bodies import json_body
from service.http.operation import operation
from service.http.shapes import unix
from service.models.catalogue import BaseModel
from service.models.inference import ask, read_question
from service.models.queries import find_model, list_models, mark_deleted
from service.models.schemas import ModelDeleted, ModelList, ModelObject
from service.services import ApiRequest, Services, caller, services
from service.tables import Model

MAX_INFERENCE_BYTES = 64 * 1024 * 1024


@get("/models", summary="List models", opt=operation(returns=ModelList))
async def get_models(request: ApiRequest) -> ModelList:
    """The base models that can be asked and trained, and the project's own."""
    here, who = services(request), caller(request)
    async with here.db.project(who.project_id) as session:
        tuned = await list_models(session, who.project_id)
    own = [_show_tuned(here, row) for row in tuned]
    return ModelList(data=own + [_show_base(here, name, model) for name, model in _base_models(here)])


@get("/models/{name:str}", summary="Retrieve a model", opt=operation(returns=ModelObject))
async def get_model(request: ApiRequest, name: FromPath[str]) -> ModelObject:
    """One model with its `shutdown_date`."""
    here, who = services(request), caller(request)
    base = here.catalogue.find(name)
    if base is not None:
        return _show_base(here, name, base)
    async with here.db.project(who.project_id) as session:
        row = await find_model(session, who.project_id, name)
    if row is None:
        raise _no_such_model(name)
    return _show_tuned(here, row)


@delete("/models/{name:str}", status_code=200, summary="Delete a tuned model", opt=operation(returns=ModelDeleted))
async def delete_model(request: ApiRequest, name: FromPath[str]) -> ModelDeleted:
    """Take a tuned model and its checkpoints out of the project: their names are gone at once."""
    here, who = services(request), caller(request)
    if here.catalogue.find(name) is not None:
        raise Conflict("Base models cannot be deleted.", param="model", code="model_not_deletable")
    async with here.db.project(who.project_id) as session:
        rows = await mark_deleted(session, who.project_id, name)
    if not rows:
        raise _no_such_model(name)
    return ModelDeleted(id=name)


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
        await json_body(request), path=path, db=here.db, catalogue=here.catalogue, project_id=who.project_id
    )
    return await ask(here.upstream, question)


def _base_models(here: Services) -> list[tuple[str, BaseModel]]:
    return [(name, model) for name in here.catalogue.names() if (model := here.catalogue.find(name)) is not None]


def _show_base(here: Services, name: str, model: BaseModel) -> ModelObject:
    shutdown = model.shutdown_at(here.upstream.provider)
    return ModelObject(
        id=name,
        created=0,
        owned_by="system",
        shutdown_date=shutdown.stops.isoformat() if shutdown else None,
    )


def _show_tuned(here: Services, row: Model) -> ModelObject:
    base = here.catalogue.find(row.base_model)
    shutdown = base.shutdown_at(here.upstream.provider) if base else None
    return ModelObject(
        id=row.name,
        created=unix(row.created_at),
        owned_by=here.settings.organization_id,
        shutdown_date=shutdown.stops.isoformat() if shutdown else None,
    )


def _no_such_model(name: str) -> NotFound:
    return NotFound(
        f"The model '{name[:128]}' does not exist or you do not have access to it.",
        param="model",
        code="model_not_found",
    )


ROUTES = [get_models, get_model, delete_model, post_chat, post_completion]
