"""A large response is sent in pieces, so that its request lasts until the client has accepted most of it."""

from typing import Any

from service.http.middleware import SENT_BYTES, RequestMiddleware
from service.settings import Settings


async def test_pieces_add_up_to_the_body_and_only_the_last_one_ends_it() -> None:
    body = bytes(range(256)) * (3 * SENT_BYTES // 256) + b"end"
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    middleware = RequestMiddleware(app, Settings().proxies(), body_idle_seconds=60)
    scope: Any = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": []}
    scope["client"] = ("127.0.0.1", 1)
    await middleware(scope, receive, send)
    pieces = sent[1:]
    assert b"".join(piece["body"] for piece in pieces) == body
    assert max(len(piece["body"]) for piece in pieces) <= SENT_BYTES
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]
