"""Parses JSON bodies and query strings strictly into structs; errors name the field at fault.

A request struct derives from `RequestModel`, which refuses unknown fields. msgspec reports what is wrong and where;
`_refusal` turns its message into `param` and a stable `code`.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeVar

import msgspec
from litestar import Request

from service import json_limits
from service.errors import InvalidRequest, NotFound, RequestTimeout
from service.http.body_pace import CLOSE
from service.http.content_encodings import check_encoding
from service.http.json_faults import (
    check_json_type,
    is_blank,
    not_an_object,
    not_json,
    paths_of,
    with_note_of_empty_body,
)
from service.http.request_memory import reservation_of
from service.http.resources import resource
from service.http.schema_text import expected_at, joined, unknown_fields
from service.http.wire_types import NoFields, RequestModel
from service.json_limits import JsonLimitExceeded
from service.off_loop import off_loop
from service.settings import Settings

Model = TypeVar("Model", bound=RequestModel)

MAX_QUERY_PARAMETERS = 100


async def read_body(request: Request[Any, Any, Any], model: type[Model]) -> tuple[Model, bytes]:
    """Parse the body as `model`; also return its SHA-256. An empty body counts as `{}`.

    Raises `InvalidRequest` that names the `param` at fault.
    """
    raw = await json_body(request)
    return await off_loop(len(raw), decode, raw, model), hashlib.sha256(raw).digest()


async def json_body(request: Request[Any, Any, Any]) -> bytes:
    """The raw body, within the limits of JSON, of its time and of the project's memory.

    Raises `InvalidRequest` when the `Content-Type` is given and is not JSON in UTF-8, or the JSON has too many values
    or levels; `UnsupportedMediaType` when the body is compressed; `RequestTimeout`; and `RateLimited`, before the bytes
    are stored, when the project's memory is full.
    """
    seconds = resource(request, Settings).json_body_seconds
    try:
        async with asyncio.timeout(seconds):
            raw = await _received(request)
    except TimeoutError:
        raise RequestTimeout(
            f"The body did not arrive within {seconds:g} s (TUNEGATE_JSON_BODY_SECONDS). Send it again.", headers=CLOSE
        ) from None
    try:
        reservation_of(request).add_values(await off_loop(len(raw), json_limits.check, raw))
    except JsonLimitExceeded as exceeded:
        raise InvalidRequest(
            f"The body is refused: {exceeded}. Send fewer or flatter values.", code="invalid_json"
        ) from None
    return raw


async def _received(request: Request[Any, Any, Any]) -> bytes:
    memory = reservation_of(request)
    chunks: list[bytes] = []
    received = reserved = 0
    async for chunk in request.stream():
        if chunk and not chunks:
            check_json_type(request.headers.get("content-type", ""))
            check_encoding(request)
        received += len(chunk)
        expected = max(received, request.content_length or 0)
        memory.add_json(expected - reserved)
        reserved = expected
        chunks.append(chunk)
    return b"".join(chunks)


def decode(raw: bytes, model: type[Model]) -> Model:
    """Decode a JSON body strictly. If a field is repeated, the last one counts. Raises `InvalidRequest`.

    An empty body counts as `{}`, so that calls without required fields need none.
    """
    is_empty = is_blank(raw)
    try:
        value = msgspec.json.decode(b"{}" if is_empty else raw, type=model)
    except msgspec.ValidationError as error:
        refusal = _refusal(str(error), model, lambda: decode_plain(raw))
        raise with_note_of_empty_body(refusal) if is_empty else refusal from None
    except _DECODE_ERRORS as error:
        raise not_json(raw, error) from None
    if b"\\u0000" in raw:  # perhaps behind an escaped backslash: the decoded values decide
        for path in islice(paths_of(decode_plain(raw), "\0"), 1):
            raise _refused_character(path)
    return value


def decode_plain(raw: bytes) -> Any:
    """Decode a JSON body as plain data: dictionaries, lists, strings, numbers. Raises `InvalidRequest`.

    An empty body counts as `{}`.
    """
    try:
        return msgspec.json.decode(b"{}" if is_blank(raw) else raw)
    except _DECODE_ERRORS as error:
        raise not_json(raw, error) from None


def check_address(request: Request[Any, Any, Any], query: Any) -> None:
    """Refuse a path that contains U+0000, too many query parameters, and any on a route that takes none.

    `query` is the route's model of them, None for a route that takes none. Raises `NotFound` or `InvalidRequest`.
    """
    if request.scope["query_string"].count(b"&") >= MAX_QUERY_PARAMETERS:
        raise InvalidRequest(f"A URL may have {MAX_QUERY_PARAMETERS} query parameters. Leave some out.")
    if "\0" in request.scope["path"]:
        raise NotFound(
            "No URL of this API contains the character U+0000. Pass the id exactly as you received it.",
            code="unknown_url",
        )
    if query is None and request.scope["query_string"]:
        read_query(request, NoFields)


def read_query(request: Request[Any, Any, Any], model: type[Model], *, extra: tuple[str, ...] = ()) -> Model:
    """Parse the query string as `model`; parameters whose names begin with one of `extra` are left to the caller.

    A parameter whose name ends in `[]` is a list and may be repeated. Raises `InvalidRequest` for an unknown or invalid
    parameter, and for a repeated one that is not a list.
    """
    values: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    given: set[str] = set()
    for name, value in request.query_params.multi_items():
        if name in given and not name.endswith("[]"):
            raise InvalidRequest(f"The query parameter '{name}' is given twice. Give it once.", param=name)
        given.add(name)
        if "\0" in name + value:
            raise _refused_character(name)
        if extra and name.startswith(extra):
            continue
        if name.endswith("[]"):
            lists.setdefault(name, []).append(value)
        else:
            values[name] = value
    try:
        read = msgspec.convert({**values, **lists}, type=model, strict=False)
        nulls = {name: value for name, value in values.items() if value.lower() == "null"}  # lax mode makes them None
        exact = {name: getattr(msgspec.convert({name: value}, type=model), name) for name, value in nulls.items()}
        return msgspec.structs.replace(read, **exact)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), model, lambda: {**values, **lists}) from None


_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_MAX_UNKNOWN_SHOWN = 20


def _refused_character(param: str) -> InvalidRequest:
    return InvalidRequest(
        f"'{param}' contains the character U+0000, which cannot be stored. Leave it out.",
        param=param or None,
        code="invalid_character",
    )


def _refusal(message: str, model: type[Model], given: Callable[[], Any]) -> InvalidRequest:
    place = re.search(r" - at `(?:key in )?\$\.?(.*)`\Z", message)
    path = (place.group(1) if place else "").replace("[...]", "")
    detail = message[: place.start()] if place else message
    if named := re.match(r"Object missing required field `(.*)`", detail):
        param = joined(path, named.group(1))
        return InvalidRequest(
            f"Missing required parameter: '{param}'. Send {expected_at(model, param) or 'it'}.",
            param=param,
            code="missing_required_parameter",
        )
    if named := re.match(r"Object contains unknown field `(.*)`", detail):
        unknown = list(islice(unknown_fields(model, given()), _MAX_UNKNOWN_SHOWN)) or [joined(path, named.group(1))]
        listed = ", ".join(f"'{name}'" for name in unknown)
        plural = "s" if len(unknown) > 1 else ""
        return InvalidRequest(
            f"Unknown parameter{plural}: {listed}. Leave out what /docs does not list.",
            param=unknown[0],
            code="unknown_parameter",
        )
    code = "invalid_type" if re.match(r"Expected `[^`]*`, got `[^`]*`\Z", detail) else "invalid_value"
    if not path and detail.startswith("Expected `object`, got"):
        return not_an_object(given())
    if not path:
        return InvalidRequest(f"Invalid body: {detail[:1].lower()}{detail[1:]}. Send a JSON object.", code=code)
    expected = expected_at(model, path)
    what = f"it must be {expected}" if expected else f"{detail[:1].lower()}{detail[1:]}"
    return InvalidRequest(f"Invalid value for '{path}': {what}.", param=path, code=code)
