"""Turns every exception into a response with OpenAI's error body: of an action, the framework, or a defect."""

import asyncio
import errno
import socket
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.database.sqlstates import sqlstate_of
from service.errors import ApiError, Internal, InvalidRequest, MethodNotAllowed, TooLarge, Unavailable
from service.http.azure_urls import sent_path
from service.http.unknown_urls import unknown_url

log = structlog.get_logger()

CONNECTION_SQLSTATES = ("08", "57P", "53", "40")
"""SQLSTATE classes that mean "Postgres is unavailable or full for now", or "retry" (PostgreSQL manual, appendix A)."""

DATA_SQLSTATE = "22"
"""The class "data exception": a value that no column accepts. Validation should refuse it earlier, naming the field."""


class ErrorDetail(msgspec.Struct, frozen=True):
    """OpenAI's error object; all four keys are always present."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every response that is not a success."""

    error: ErrorDetail


def error_response(error: ApiError) -> Response[bytes]:
    """The response for `error`: its body, status and headers."""
    headers = dict(error.headers)
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_seconds)))
    return Response(error_body(error), status_code=error.status, media_type="application/json", headers=headers)


def error_body(error: ApiError) -> bytes:
    """The body of the response for `error`, as JSON."""
    return msgspec.json.encode(ErrorBody(ErrorDetail(error.message, error.type, error.param, error.code)))


def handle(request: Request[Any, Any, Any], exception: Exception) -> Response[bytes]:
    """Litestar's handler for all exceptions."""
    error = as_api_error(request, exception)
    if error.status == Internal.status:
        log.error("request.failed", error=repr(exception), exc_info=exception)
    elif error.status > Internal.status:
        log.warning("request.unavailable", status=error.status, error=repr(exception))
    return error_response(error)


def as_api_error(request: Request[Any, Any, Any], exception: BaseException) -> ApiError:
    """The API error that an exception stands for."""
    match exception:
        case ApiError():
            return exception
        case HTTPException(status_code=404):
            return unknown_url(request.scope, request.method)
        case HTTPException(status_code=405):
            allowed = {key: value for key, value in (exception.headers or {}).items() if key.lower() == "allow"}
            return MethodNotAllowed(
                f"{request.method} is not allowed on {sent_path(request.scope)}. See /docs for the methods that are.",
                headers=allowed,
            )
        case HTTPException(status_code=413):
            return TooLarge("The request body is too large.", code="request_too_large")
        case HTTPException(
            detail="client disconnected prematurely"
        ):  # Litestar's message; nobody receives the response
            return InvalidRequest("The connection ended before the request did.", code="invalid_request")
        case HTTPException() if exception.status_code < 500:
            return InvalidRequest(exception.detail or "The request could not be read.", code="invalid_request")
        case PoolTimeoutError() | OperationalError() | InterfaceError() | ConnectionError() | TimeoutError():
            return _unavailable()
        case socket.gaierror() | OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH | errno.ENETDOWN):
            return _unavailable()
        case asyncio.CancelledError():
            return _unavailable()
        case DBAPIError() if (sqlstate_of(exception) or "").startswith(CONNECTION_SQLSTATES):
            return _unavailable()
        case DBAPIError() if exception.connection_invalidated:
            return _unavailable()
        case InternalError() if sqlstate_of(exception) is None:  # raised by the driver: the connection died unnoticed
            return _unavailable()
        case DBAPIError() if (sqlstate_of(exception) or "").startswith(DATA_SQLSTATE):
            log.error("request.unstorable", error=repr(exception), exc_info=exception)
            return InvalidRequest(
                "The request contains a character or a number that cannot be stored. Change it.", code="invalid_value"
            )
        case _:
            return Internal(
                "Something went wrong on our side. The request id in x-request-id identifies it in the logs."
            )


def _unavailable() -> Unavailable:
    return Unavailable(
        "A service that this API depends on is unavailable for a moment. Try again.", retry_after_seconds=1
    )
