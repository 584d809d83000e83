"""`DELETE /v1/models/{name}`, and the dependents of a model."""

from litestar import delete, get
from litestar.params import FromPath

from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.errors import Conflict
from service.http.bodies import read_query
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.identity import audit
from service.identity.requests import caller
from service.models.deletion.actions import delete_model, find_dependents
from service.models.deletion.queries import granted_projects
from service.models.deletion.schemas import DeleteQuery, ModelDependents, show_dependents
from service.models.schemas import ModelDeleted


@get(
    "/models/{name:str}/dependents",
    summary="List what depends on a tuned model",
    opt=operation(returns=ModelDependents),
)
async def get_dependents(request: ApiRequest, name: FromPath[str]) -> ModelDependents:
    """What a deletion would break: aliases, unfinished jobs and runs, other projects; and the deleted checkpoints."""
    db = resource(request, Database)
    who = caller(request)
    _check_not_a_base_model(request, name)
    granted = await granted_projects(db, who.project_id, name)
    async with db.project(who.project_id) as session:
        found = await find_dependents(session, who.project_id, name, granted_projects=granted)
    return show_dependents(name, found)


@delete(
    "/models/{name:str}",
    status_code=200,
    summary="Delete a tuned model",
    opt=operation(returns=ModelDeleted, query=DeleteQuery),
)
async def delete_one_model(request: ApiRequest, name: FromPath[str]) -> ModelDeleted:
    """Delete a tuned model and its checkpoints at once; they are deleted upstream afterwards.

    Refused while anything unfinished depends on it; `force=true` overrides the permissions of other projects.
    """
    db = resource(request, Database)
    who, query = caller(request), read_query(request, DeleteQuery)
    _check_not_a_base_model(request, name)
    granted = await granted_projects(db, who.project_id, name)
    async with db.project(who.project_id) as session:
        await delete_model(
            session,
            project_id=who.project_id,
            actor=audit.actor_of(request),
            name=name,
            granted_projects=granted,
            force=query.force,
        )
    return ModelDeleted(id=name)


def _check_not_a_base_model(request: ApiRequest, name: str) -> None:
    if resource(request, Catalogue).find(name) is not None:
        raise Conflict("Base models cannot be deleted.", param="model", code="model_not_deletable")


ROUTES = [get_dependents, delete_one_model]
