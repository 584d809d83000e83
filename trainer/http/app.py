"""Assembles the HTTP application."""

import hmac

import msgspec
from anyio import CapacityLimiter
from litestar import Litestar, get
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..attempts import AttemptTokens
from ..engines.port import Engine
from ..ids import new_id
from ..settings import Settings
from ..storage import Storage, StorageUnavailable
from ..store import Store
from ..vllm.publisher import Publisher
from . import errors, files, inference, internal, jobs, models
from .callers import MAX_THREADS
from .errors import ApiError
from .once import Once
from .relay import Relay
from .serving import Serving


def create_app(
    settings: Settings,
    store: Store,
    storage: Storage,
    engine: Engine,
    serving: Serving,
    tokens: AttemptTokens,
    publisher: Publisher | None = None,
) -> ASGIApp:
    """The HTTP application; all of its dependencies are arguments."""
    app = Litestar(
        route_handlers=[
            healthz,
            *(files.create_file, files.list_files, files.get_file, files.get_content, files.delete_file),
            *(jobs.create_job, jobs.list_jobs, jobs.get_job, jobs.cancel_job, jobs.pause_job, jobs.resume_job),
            *(jobs.list_events, jobs.list_checkpoints),
            *(models.list_models, models.get_model, models.delete_model),
            *(inference.chat, inference.complete),
            *(internal.get_assignment, internal.take_reports),
        ],
        state=State(
            {
                "settings": settings,
                "store": store,
                "storage": storage,
                "engine": engine,
                "serving": serving,
                "tokens": tokens,
                "publisher": publisher,
                "relay": _relay(settings, publisher) if publisher is not None else None,
                "once": Once(),
                "inference_threads": CapacityLimiter(MAX_THREADS),
            }
        ),
        exception_handlers={
            ApiError: errors.respond_api_error,
            StorageUnavailable: errors.respond_storage_unavailable,
            HTTPException: errors.respond_http_error,
            Exception: errors.respond_unexpected,
        },
        openapi_config=None,
        logging_config=None,
    )
    return _guard(app, settings.api_key)


@get("/healthz", sync_to_thread=False)
def healthz() -> dict[str, str]:
    """Responds while the server runs; needs no key."""
    return {"status": "ok"}


def _relay(settings: Settings, publisher: Publisher) -> Relay:
    return Relay(publisher, api_key=settings.serve_api_key, timeout_seconds=settings.serve_timeout_seconds)


_INTERNAL = "/internal/"
"""Routes with tokens of their own."""


def _guard(app: ASGIApp, api_key: str) -> ASGIApp:
    """Add an `x-request-id` to every response, and refuse a wrong key before routing."""
    expected = f"Bearer {api_key}".encode()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        request_id = new_id("req_").encode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        given = dict(scope["headers"]).get(b"authorization", b"")
        open_path = scope["path"] == "/healthz" or scope["path"].startswith(_INTERNAL)
        if api_key and not open_path and not hmac.compare_digest(given, expected):
            await _refuse_key(send_with_id)
        else:
            await app(scope, receive, send_with_id)

    return guarded


async def _refuse_key(send: Send) -> None:
    content = msgspec.json.encode(
        errors.body(401, "The API key is missing or wrong: send Authorization: Bearer KEY.", code="invalid_api_key")
    )
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": False})
