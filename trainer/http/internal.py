"""The routes of training processes, under `/internal`: each call shows the token of its attempt."""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.datastructures import State
from msgspec import Meta

from ..assignments import assignment_of
from ..attempts import AttemptTokens
from ..engines.port import Fenced
from ..recording import BadReport, check_owner, record
from ..reports import MAX_REPORTS, MAX_REQUEST_BYTES, Report
from ..store import Store
from .errors import ApiError
from .lists import AnyRequest

_Reports = Annotated[list[Report], Meta(max_length=MAX_REPORTS)]


@get("/internal/jobs/{job_id:str}/attempts/{attempt:int}", sync_to_thread=True)
def get_assignment(job_id: str, attempt: int, request: AnyRequest, state: State) -> Response[Any]:
    """What an attempt has to do; 409 when the job is no longer its own."""
    _check_token(request, state, job_id, attempt)
    store: Store = state.store
    try:
        with store.write() as db:
            job = check_owner(db, job_id, attempt)
    except Fenced:
        raise _fenced() from None
    assignment = assignment_of(job, phase_seconds=state.settings.phase_seconds)
    return Response(msgspec.json.encode(assignment), media_type="application/json")


@post(
    "/internal/jobs/{job_id:str}/attempts/{attempt:int}/reports",
    status_code=204,
    sync_to_thread=True,
    request_max_body_size=MAX_REQUEST_BYTES,
)
def take_reports(job_id: str, attempt: int, body: bytes, request: AnyRequest, state: State) -> None:
    """Record what an attempt did, all or nothing; 409 when the job is no longer its own."""
    _check_token(request, state, job_id, attempt)
    try:
        reports: Sequence[Report] = msgspec.json.decode(body, type=_Reports)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"The reports could not be read: {error}") from None
    try:
        record(state.store, state.storage, job_id, attempt, reports, publishes=bool(state.settings.serve_urls))
    except Fenced:
        raise _fenced() from None
    except BadReport as error:
        raise ApiError(400, str(error)) from None


def _check_token(request: AnyRequest, state: State, job_id: str, attempt: int) -> None:
    tokens: AttemptTokens = state.tokens
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not tokens.is_valid(job_id, attempt, given):
        raise ApiError(401, "Only the training process of this attempt can call this.", code="invalid_token")


def _fenced() -> ApiError:
    return ApiError(409, "The job was cancelled, paused or claimed by another process: stop.", code="fenced")
