"""Questions: what a call of inference asks for, of which model, and who is asked for it."""

from dataclasses import dataclass
from typing import Any

import structlog

from service.catalogue.base_models import BaseModel, Catalogue
from service.database.engine import Database
from service.database.tables import Model
from service.errors import InvalidRequest, NotFound, Unavailable
from service.http.bodies import plain
from service.inference.bounds import most_output_tokens
from service.models.aliases.queries import standing_for
from service.models.queries import find_model
from service.upstreams.accounts import DEFAULT_ACCOUNT, Accounts, AccountUnusable
from service.upstreams.port import Upstream
from service.upstreams.queries import inference_accounts

log = structlog.get_logger()

USAGE = "stream_options"


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """A call: our name of the model, the upstream's, who is asked, and the body to send.

    `base` is the model itself, or the one that it was tuned from; `output_tokens` the longest answer that is allowed;
    `billed` whether the account's use is charged to projects.
    """

    upstream: Upstream
    path: str
    model: str
    upstream_model: str
    base: BaseModel | None
    tuned: bool
    billed: bool
    output_tokens: int
    project_id: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """Where models are looked up."""

    db: Database
    catalogue: Catalogue
    accounts: Accounts


async def read_inference_request(raw: bytes, *, path: str, router: Router, project_id: str) -> InferenceRequest:
    """Decode the body and look the model up. Raises `InvalidRequest`, or `NotFound` for a model of nobody here."""
    return await inference_request_of(plain(raw or b"{}"), path=path, router=router, project_id=project_id)


async def inference_request_of(body: Any, *, path: str, router: Router, project_id: str) -> InferenceRequest:
    """The call that a body asks for. Raises as `read_inference_request`."""
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_type")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("Missing required parameter: 'model'.", param="model", code="missing_required_parameter")
    if body.get("stream") not in (None, False, True):
        raise InvalidRequest("'stream' must be true or false.", param="stream", code="invalid_type")
    if not isinstance(body.get(USAGE), dict | None):
        raise InvalidRequest(f"'{USAGE}' must be an object.", param=USAGE, code="invalid_type")
    base, tuned = router.catalogue.find(model), None
    if base is None:
        model, base, tuned = await _own_model(model, router, project_id)
    upstream, upstream_model = await _asked_at(model, base, tuned, router, project_id)
    return InferenceRequest(
        upstream=upstream,
        path=path,
        model=model,
        upstream_model=upstream_model,
        base=base,
        tuned=tuned is not None,
        billed=router.accounts.billed(upstream.account_id),
        output_tokens=most_output_tokens(body, path=path, model=base),
        project_id=project_id,
        body={**body, "model": upstream_model},
    )


async def _own_model(name: str, router: Router, project_id: str) -> tuple[str, BaseModel | None, Model | None]:
    """Our name of what the project calls `name`: a tuned model, or an alias of any model. With the base model behind
    it, and its row if it is tuned from that one."""
    catalogue = router.catalogue
    if "\0" not in name:
        async with router.db.project(project_id) as session:
            tuned = await find_model(session, project_id, name)
            if tuned is None and (found := await standing_for(session, project_id, name)) is not None:
                alias, tuned = found
                if tuned is None and catalogue.find(alias.model) is not None:
                    return alias.model, catalogue.find(alias.model), None
        if tuned is not None:
            return tuned.name, catalogue.find(tuned.base_model), tuned
    raise NotFound(
        f"The model '{name[:128]}' does not exist or you may not use it. GET /v1/models lists yours.",
        param="model",
        code="model_not_found",
    )


async def _asked_at(
    model: str, base: BaseModel | None, tuned: Model | None, router: Router, project_id: str
) -> tuple[Upstream, str]:
    """Who is asked for a model, and by what name: a tuned one where it was made, a base model at the project's own
    account or a shared one that serves it, those that are held last."""
    accounts = router.accounts
    try:
        if tuned is not None:
            upstream = await accounts.get(tuned.account_id)
            name = upstream.model_name((model,), tuned.upstream_name)
            if name is None:
                raise _not_deployed(model)
            return upstream, name
        names = (model,) if base is None else (model, base.name, *base.aliases)
        async with router.db.project(project_id) as session:
            ids = [account.id for account in await inference_accounts(session, project_id, names)]
        for account_id in ids or [DEFAULT_ACCOUNT]:
            upstream = await accounts.get(account_id)
            if (name := upstream.model_name(names, model)) is not None:
                return upstream, name
    except AccountUnusable as error:
        log.error("inference.account_unusable", error=str(error))
        raise Unavailable(
            "The upstream that serves this model cannot be used now. Tell the platform team.",
            code="upstream_unavailable",
        ) from None
    raise _not_deployed(model)


def _not_deployed(model: str) -> InvalidRequest:
    return InvalidRequest(
        f"The model '{model[:128]}' has no deployment at the account that serves it. Name one in the account's "
        "`deployments`, then ask again.",
        param="model",
        code="model_not_deployed",
    )
