"""The errors of the API, each with its HTTP status and a stable code.

    TunegateError
    ├── SettingsError               the process cannot start; no caller sees it
    └── ApiError                    status · type · code · param · whether a retry can help
        ├── InvalidRequest    400   the request breaks a rule; `param` names the field
        ├── Unauthenticated   401   no key, or not a valid one
        ├── Forbidden         403   a valid key of the wrong kind
        ├── NotFound          404   no such resource for this caller
        ├── MethodNotAllowed  405
        ├── Conflict          409   the resource is in a state that does not allow this
        ├── Busy              409   the resource is being processed: retry
        ├── InFlight          409   the same request is being processed: retry
        ├── RequestTimeout    408   the request did not arrive in time
        ├── TooLarge          413
        ├── UnsupportedMediaType 415  the body, or a part of it, is compressed
        ├── KeyReused         422   an Idempotency-Key was reused with another body
        ├── QuotaExceeded     429   above a budget or limit; retrying does not help
        ├── RateLimited       429   too many requests; retry after a while
        ├── HeaderTooLarge    431   the head of the request exceeds its limits
        ├── Internal          500
        ├── BadAnswer         502   an upstream's answer exceeds its limits
        └── Unavailable       503   a dependency is unavailable: retry

The body is OpenAI's: `{"error": {"message", "type", "param", "code"}}`, all four keys always present. The official
SDK retries 408, 409, 429 and 5xx by itself, so `x-should-retry` tells it whether a retry can help.
"""


class TunegateError(Exception):
    """The base of every exception that Tunegate raises deliberately."""


class SettingsError(TunegateError):
    """The environment is not a valid configuration; the message names the variable."""


class ApiError(TunegateError):
    """An error response. `message` says what is wrong and what to do next."""

    status = 500
    type = "server_error"
    code = "internal_error"
    should_retry: bool | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_seconds: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.headers = headers or {}


class InvalidRequest(ApiError):
    """The request breaks a rule of the API."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class Unauthenticated(ApiError):
    """There is no key, or it is unknown, revoked or expired."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class Forbidden(ApiError):
    """The key is valid, but its kind, role or scopes do not allow this."""

    status = 403
    type = "invalid_request_error"
    code = "insufficient_permissions"


class NotFound(ApiError):
    """No such resource for this caller. Resources of other projects give the same error."""

    status = 404
    type = "invalid_request_error"
    code = "not_found"


class MethodNotAllowed(ApiError):
    """The route exists, but not with this HTTP method."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class Conflict(ApiError):
    """The resource is in a state that does not allow this; retrying does not help."""

    status = 409
    type = "invalid_request_error"
    code = "conflict"
    should_retry = False


class Busy(Conflict):
    """The resource is being processed for a moment; the SDK retries by itself."""

    should_retry = True


class InFlight(ApiError):
    """The same request is still being processed."""

    status = 409
    type = "invalid_request_error"
    code = "request_in_flight"
    should_retry = True


class TooLarge(ApiError):
    """The body, file or part exceeds its limit."""

    status = 413
    type = "invalid_request_error"
    code = "file_too_large"


class UnsupportedMediaType(ApiError):
    """The body, or a part of it, is compressed or otherwise encoded."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_content_encoding"


class RequestTimeout(ApiError):
    """The request did not arrive in time."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class HeaderTooLarge(ApiError):
    """The head of the request has too many bytes or headers."""

    status = 431
    type = "invalid_request_error"
    code = "header_too_large"
    should_retry = False


class KeyReused(ApiError):
    """An Idempotency-Key was reused with another body."""

    status = 422
    type = "invalid_request_error"
    code = "idempotency_key_reused"


class QuotaExceeded(ApiError):
    """The request exceeds a budget or limit of the project; retrying does not help."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    should_retry = False


class RateLimited(ApiError):
    """Too many requests for now."""

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"
    should_retry = True


class Internal(ApiError):
    """A defect in Tunegate; the log has the request id."""


class BadAnswer(ApiError):
    """An upstream's answer exceeds a limit; the same request would most likely fail again."""

    status = 502
    type = "server_error"
    code = "upstream_answer_too_large"
    should_retry = False


class Unavailable(ApiError):
    """A dependency is unavailable for now."""

    status = 503
    type = "server_error"
    code = "service_unavailable"
    should_retry = True


def unknown_cursor(after: str, *, param: str = "after") -> InvalidRequest:
    """The error for a cursor (`after`, or another `param`) that is not an id of this list."""
    return InvalidRequest(
        f"No item with id '{after}' in this list. Pass the last_id of the previous page.",
        param=param,
        code="invalid_cursor",
    )
