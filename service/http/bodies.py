"""Reading JSON bodies and query strings strictly into structs, with errors that name the field.

A request struct derives from `RequestModel`; unknown fields are refused. msgspec says what is wrong and where; the
table in `_refusal` turns its sentence into `param` and a stable `code`.
"""

import hashlib
import re
from typing import Any, TypeVar

import msgspec
from litestar import Request

from service.errors import InvalidRequest

Model = TypeVar("Model", bound="RequestModel")


class RequestModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of every request body and query."""


class NoFields(RequestModel, frozen=True, kw_only=True):
    """A body or query without fields."""


async def read_body(request: Request[Any, Any, Any], model: type[Model]) -> tuple[Model, bytes]:
    """The body as `model`, and its SHA-256. An empty body counts as `{}`.

    Raises `InvalidRequest` with the `param` at fault.
    """
    raw = await request.body()
    return decode(raw or b"{}", model), hashlib.sha256(raw).digest()


def decode(raw: bytes, model: type[Model]) -> Model:
    """Decode a JSON body strictly. Raises `InvalidRequest`."""
    try:
        return msgspec.json.decode(raw, type=model)
    except msgspec.ValidationError as error:
        raise _refusal(str(error), _unknown_fields(raw, model)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}. Send a JSON object.", code="invalid_json") from None


def read_query(request: Request[Any, Any, Any], model: type[Model], *, extra: tuple[str, ...] = ()) -> Model:
    """The query string as `model`; parameters that begin with one of `extra` are left to the caller.

    Raises `InvalidRequest` for a parameter that is not understood or given twice.
    """
    values: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name.startswith(extra) and extra:
            continue
        if name in values:
            raise InvalidRequest(f"The query parameter `{name}` is given twice.", param=name, code="invalid_value")
        values[name] = value
    try:
        return msgspec.convert(values, type=model, strict=False)
    except msgspec.ValidationError as error:
        known = [field.encode_name for field in msgspec.structs.fields(model)]
        raise _refusal(str(error), [name for name in values if name not in known]) from None


def _unknown_fields(raw: bytes, model: type[Model]) -> list[str]:
    given = msgspec.json.decode(raw)
    if not isinstance(given, dict):
        return []
    known = {field.encode_name for field in msgspec.structs.fields(model)}
    return [str(name) for name in given if name not in known]


def _refusal(message: str, unknown: list[str]) -> InvalidRequest:
    place = re.search(r" - at `(?:key in )?\$\.?(.*)`$", message)
    path = (place.group(1) if place else "").replace("[...]", "")
    detail = message[: place.start()] if place else message
    if named := re.match(r"Object missing required field `(.*)`", detail):
        param = _join(path, named.group(1))
        return InvalidRequest(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    if named := re.match(r"Object contains unknown field `(.*)`", detail):
        if path == "" and unknown:
            listed = ", ".join(f"'{name}'" for name in unknown[:20])
            return InvalidRequest(f"Unknown parameter: {listed}.", param=unknown[0], code="unknown_parameter")
        param = _join(path, named.group(1))
        return InvalidRequest(f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")
    wrong_type = re.match(r"Expected `([^`]*)`, got `([^`]*)`$", detail)
    code = "invalid_type" if wrong_type else "invalid_value"
    what = f"Invalid value for '{path}'" if path else "Invalid body"
    return InvalidRequest(f"{what}: {detail[:1].lower()}{detail[1:]}.", param=path or None, code=code)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
