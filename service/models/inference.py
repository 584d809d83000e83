"""Asking a model: the call goes to the upstream that serves it, under our names on both sides."""

import asyncio
from dataclasses import dataclass
from typing import Any, NoReturn

import httpx2
import msgspec
import structlog
from litestar import Response
from litestar.background_tasks import BackgroundTask
from litestar.response import Stream

from service.db import Database
from service.errors import InvalidRequest, NotFound, QuotaExceeded, RateLimited, Unavailable
from service.http.bodies import plain
from service.models.aliases.queries import standing_for
from service.models.asked import most_output_tokens
from service.models.catalogue import BaseModel, Catalogue
from service.models.metering import Meter, Tab
from service.models.queries import find_model
from service.models.relay import Relay
from service.tables import Model
from service.upstream.accounts import DEFAULT_ACCOUNT, Accounts, AccountUnusable
from service.upstream.port import Completion, CompletionStream, Upstream
from service.upstream.queries import asked_at

log = structlog.get_logger()

USAGE = "stream_options"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
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


async def read_question(
    raw: bytes, *, path: str, db: Database, catalogue: Catalogue, accounts: Accounts, project_id: str
) -> Question:
    """Decode the body and look the model up. Raises `InvalidRequest`, or `NotFound` for a model of nobody here."""
    body = plain(raw or b"{}")
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_type")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise InvalidRequest("Missing required parameter: 'model'.", param="model", code="missing_required_parameter")
    if body.get("stream") not in (None, False, True):
        raise InvalidRequest("'stream' must be true or false.", param="stream", code="invalid_type")
    if not isinstance(body.get(USAGE), dict | None):
        raise InvalidRequest(f"'{USAGE}' must be an object.", param=USAGE, code="invalid_type")
    base, tuned = catalogue.find(model), None
    if base is None:
        model, base, tuned = await _own_model(model, db=db, catalogue=catalogue, project_id=project_id)
    upstream, upstream_model = await _asked_at(model, base, tuned, db=db, accounts=accounts, project_id=project_id)
    return Question(
        upstream=upstream,
        path=path,
        model=model,
        upstream_model=upstream_model,
        base=base,
        tuned=tuned is not None,
        billed=accounts.billed(upstream.account_id),
        output_tokens=most_output_tokens(body, path=path, model=base),
        project_id=project_id,
        body={**body, "model": upstream_model},
    )


async def _own_model(
    name: str, *, db: Database, catalogue: Catalogue, project_id: str
) -> tuple[str, BaseModel | None, Model | None]:
    """Our name of what the project calls `name`: a tuned model, or an alias of any model. With the base model behind
    it, and its row if it is tuned from that one."""
    if "\0" not in name:
        async with db.project(project_id) as session:
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
    model: str, base: BaseModel | None, tuned: Model | None, *, db: Database, accounts: Accounts, project_id: str
) -> tuple[Upstream, str]:
    """Who is asked for a model, and by what name: a tuned one where it was made, a base model at the project's own
    account or a shared one that serves it, those that are held last."""
    try:
        if tuned is not None:
            upstream = await accounts.get(tuned.account_id)
            name = upstream.asked_as((model,), tuned.upstream_name)
            if name is None:
                raise _not_deployed(model)
            return upstream, name
        names = (model,) if base is None else (model, base.name, *base.aliases)
        async with db.project(project_id) as session:
            ids = [account.id for account in await asked_at(session, project_id, names)]
        for account_id in ids or [DEFAULT_ACCOUNT]:
            upstream = await accounts.get(account_id)
            if (name := upstream.asked_as(names, model)) is not None:
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


async def ask(question: Question, *, meter: Meter, api_key_id: str, seconds: float) -> Response[bytes] | Stream:
    """Pass the question on and the answer back, within `seconds`, and have it metered.

    Raises `QuotaExceeded` over a limit, and what the upstream's refusal means for our caller.
    """
    tab = await meter.open(
        question.body,
        path=question.path,
        model=question.model,
        base=question.base,
        tuned=question.tuned,
        billed=question.billed,
        output_tokens=question.output_tokens,
        project_id=question.project_id,
        api_key_id=api_key_id,
    )
    try:
        async with asyncio.timeout(seconds):
            answer = await _sent(question.upstream, question)
    except (httpx2.HTTPError, TimeoutError) as error:
        await tab.void()
        log.warning("inference.unreachable", error=type(error).__name__)
        raise Unavailable(
            "The upstream that serves this model does not answer. Try again.", code="upstream_unavailable"
        ) from None
    if not isinstance(answer, Completion):
        return _streamed(answer, question, tab, seconds)
    if not 200 <= answer.status < 300:
        await tab.void()
        _refuse(answer, question)
    tab.hear(answer.body)
    await tab.post()
    return Response(msgspec.json.encode(_ours(answer.body, question)), media_type="application/json")


async def _sent(upstream: Upstream, question: Question) -> Completion | CompletionStream:
    """The answer. A stream is asked for its usage, unless the upstream does not know how."""
    if not question.body.get("stream"):
        return await upstream.complete(question.path, question.body)
    asked = {**question.body, USAGE: {**(question.body.get(USAGE) or {}), "include_usage": True}}
    answer = await upstream.stream(question.path, asked)
    if isinstance(answer, Completion) and answer.status in (400, 422) and USAGE not in question.body:
        error = answer.body.get("error")
        if USAGE in str(error) or "include_usage" in str(error):
            return await upstream.stream(question.path, question.body)
    return answer


def _streamed(answer: CompletionStream, question: Question, tab: Tab, seconds: float) -> Stream:
    relay = Relay(
        answer,
        tab,
        shown=lambda chunk: _ours(chunk, question),
        with_usage=bool((question.body.get(USAGE) or {}).get("include_usage")),
        seconds=seconds,
    )
    return Stream(
        relay,
        media_type="text/event-stream",
        headers={"cache-control": "no-cache"},
        background=BackgroundTask(relay.hang_up),
    )


def _ours(body: dict[str, Any], question: Question) -> dict[str, Any]:
    return {**body, "model": question.model} if "model" in body else body


def _refuse(answer: Completion, question: Question) -> NoReturn:
    error = answer.body.get("error")
    detail: dict[str, Any] = error if isinstance(error, dict) else {}
    message = str(detail.get("message") or f"HTTP {answer.status}").replace(question.upstream_model, question.model)
    code = str(detail.get("code")) if detail.get("code") else None
    param = str(detail.get("param")) if detail.get("param") else None
    match answer.status:
        case 429 if code == "insufficient_quota":
            log.error("inference.upstream_quota")
            raise QuotaExceeded("The upstream account is out of quota. Tell the platform team.")
        case 429:
            raise RateLimited(message, retry_after_seconds=min(answer.retry_after_seconds or 1, 120))
        case 400 | 404 | 413 | 415 | 422:
            raise InvalidRequest(message, param=param, code=code)
        case _:
            log.error("inference.upstream_refused", status=answer.status)
            raise Unavailable(
                f"The upstream that serves this model answered {answer.status}. Try again.", code="upstream_unavailable"
            )
