"""Routing: which upstream serves a model, and what the model is called there."""

from dataclasses import dataclass

import structlog

from service.catalogue.base_models import BaseModel, Catalogue
from service.database.engine import Database
from service.database.tables import Model
from service.errors import InvalidRequest, NotFound, Unavailable
from service.models.aliases.queries import find_alias_target
from service.models.queries import find_model
from service.upstreams.accounts import DEFAULT_ACCOUNT, Accounts, AccountUnusable
from service.upstreams.port import InferenceUpstream

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where calls of a model go. `model` is our name of it, `upstream_model` the upstream's.

    `base` is the model itself or the base model that it was tuned from, None for one that the catalogue does not have;
    `billed` says whether the account's use is charged to projects.
    """

    model: str
    base: BaseModel | None
    tuned: bool
    upstream: InferenceUpstream
    upstream_model: str
    billed: bool

    @property
    def rate_limited_model(self) -> str:
        """The model whose rate limits count the calls: the base model behind a tuned one."""
        return self.model if self.base is None else self.base.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """Finds the route for a model's name, as one project may use it."""

    db: Database
    catalogue: Catalogue
    accounts: Accounts[InferenceUpstream]

    async def route(self, name: str, project_id: str) -> Route:
        """The route for a base model, a tuned model or an alias.

        Raises `NotFound` for a model that does not exist for the project, `InvalidRequest` for one without a
        deployment at its account, and `Unavailable` when the account cannot be used.
        """
        model, base, tuned = name, self.catalogue.find(name), None
        if base is None:
            model, base, tuned = await self._project_model(name, project_id)
        try:
            upstream, upstream_model = await self._upstream_of(model, base, tuned, project_id)
        except AccountUnusable as error:
            log.error("inference.account_unusable", error=str(error))
            raise Unavailable(
                "The upstream that serves this model cannot be used now. Tell the platform team.",
                code="upstream_unavailable",
            ) from None
        return Route(
            model=model,
            base=base,
            tuned=tuned is not None,
            upstream=upstream,
            upstream_model=upstream_model,
            billed=self.accounts.billed(upstream.account_id),
        )

    async def _project_model(self, name: str, project_id: str) -> tuple[str, BaseModel | None, Model | None]:
        """Resolves the name of a tuned model, or an alias of any model: our name of the model, the base model behind
        it, and its row if it is a tuned one."""
        if "\0" not in name:
            async with self.db.project(project_id) as session:
                tuned = await find_model(session, project_id, name)
                if tuned is None and (found := await find_alias_target(session, project_id, name)) is not None:
                    alias, tuned = found
                    if tuned is None and (base := self.catalogue.find(alias.model)) is not None:
                        return alias.model, base, None
            if tuned is not None:
                return tuned.name, self.catalogue.find(tuned.base_model), tuned
        raise NotFound(
            f"The model '{name[:128]}' does not exist or you may not use it. GET /v1/models lists yours.",
            param="model",
            code="model_not_found",
        )

    async def _upstream_of(
        self, model: str, base: BaseModel | None, tuned: Model | None, project_id: str
    ) -> tuple[InferenceUpstream, str]:
        """The upstream that serves a model, and the model's name there: a tuned model at the account that trained it,
        a base model at the project's own account or a shared one that serves it, accounts in a cool-down last."""
        if tuned is not None:
            upstream = await self.accounts.get(tuned.account_id)
            if (upstream_model := upstream.model_name((model,), tuned.upstream_name)) is not None:
                return upstream, upstream_model
            raise _not_deployed(model)
        names = (model,) if base is None else (model, base.name, *base.aliases)
        serving = await self.accounts.serving(project_id, model, base)
        if not serving and base is not None and base.is_open:
            raise NotFound(
                f"No upstream of this project serves {base.name} now. GET /v1/models lists the models that are served.",
                param="model",
                code="model_not_found",
            )
        for account_id in serving or [DEFAULT_ACCOUNT]:
            upstream = await self.accounts.get(account_id)
            if (upstream_model := upstream.model_name(names, model)) is not None:
                return upstream, upstream_model
        raise _not_deployed(model)


def _not_deployed(model: str) -> InvalidRequest:
    return InvalidRequest(
        f"The model '{model[:128]}' has no deployment at the account that serves it. Name one in the account's "
        "`deployments`, then ask again.",
        param="model",
        code="model_not_deployed",
    )
