"""Error responses in OpenAI's format."""

import logging
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException

_log = logging.getLogger("trainer")


class ApiError(Exception):
    """A refusal that the caller can act on: HTTP status, message, and OpenAI's type, param and code.

    `retry_after_seconds` is for one that will not last.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code
        self.retry_after_seconds = retry_after_seconds


def not_found(what: str, name: str, *, code: str | None = None, param: str | None = None) -> ApiError:
    """404 for a thing that is named in the path or the body."""
    return ApiError(404, f"No such {what}: {name}", param=param, code=code or "not_found")


def body(status: int, message: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The error object of a status."""
    kind = "authentication_error" if status == 401 else "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def respond_api_error(request: Request[Any, Any, Any], error: ApiError) -> Response[Any]:
    """Handler of `ApiError`."""
    response = _response(error.status, body(error.status, str(error), param=error.param, code=error.code))
    if error.retry_after_seconds is not None:
        response.headers["retry-after"] = str(error.retry_after_seconds)
    return response


def respond_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Handler of the framework's own refusals: unknown routes, wrong methods, bodies over the limit."""
    message = f"{error.detail} ({request.method} {request.url.path})"
    code = {404: "unknown_url", 405: "method_not_allowed", 413: "request_too_large"}.get(error.status_code)
    return _response(error.status_code, body(error.status_code, message, code=code))


def respond_storage_unavailable(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Handler of a store that does not answer."""
    _log.error("%s %s: %s", request.method, request.url.path, error)
    return _response(503, body(503, str(error), code="storage_unavailable"))


def respond_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Handler of everything else: logged with its traceback, answered without it."""
    _log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
    return _response(500, body(500, "The trainer had an error while it handled the request.", code="server_error"))


def _response(status: int, content: dict[str, Any]) -> Response[Any]:
    return Response(content, status_code=status, media_type="application/json")
