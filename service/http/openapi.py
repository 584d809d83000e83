"""Builds the OpenAPI document from the routes: paths from the framework, schemas from the handlers' structs."""

from typing import Any

import msgspec
import yaml
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from service.http.errors import ErrorBody
from service.http.operation import OPT_KEY, Operation

TITLE = "Tunegate"
VERSION = "0.1.0"
REF = "#/components/schemas/{name}"
DESCRIPTION = (
    "A fine-tuning gateway with OpenAI's API. Set the official SDK's `base_url` to this service and keep your code."
)


def document(app: Litestar) -> dict[str, Any]:
    """The OpenAPI document as plain data, sorted by path and method."""
    operations = sorted(
        (
            (route.path_format, method.lower(), handler, handler.opt[OPT_KEY])
            for route in app.routes
            if isinstance(route, HTTPRoute)
            for handler in route.route_handlers
            for method in handler.http_methods
            if OPT_KEY in handler.opt
        ),
        key=lambda entry: (entry[0], entry[1]),
    )
    models = [model for _, _, _, operation in operations for model in _models(operation)]
    _, components = msgspec.json.schema_components([ErrorBody, *models], ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for path, method, handler, operation in operations:
        paths.setdefault(path.replace(":str", ""), {})[method] = _operation(path, handler, operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {"azure_key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "azure_key": {"type": "apiKey", "in": "header", "name": "api-key"},
            },
            "schemas": _with_portable_patterns(dict(sorted(components.items()))),
        },
    }


def _with_portable_patterns(schema: Any) -> Any:
    """The schema with patterns that end in `$` instead of Python's `\\Z`.

    JSON Schema's patterns are ECMA-262's, which has no `\\Z`, and whose `$` is the end of the text as `\\Z` is.
    """
    match schema:
        case dict():
            return {
                name: inner.replace(r"\Z", "$")
                if name == "pattern" and isinstance(inner, str)
                else _with_portable_patterns(inner)
                for name, inner in schema.items()
            }
        case list():
            return [_with_portable_patterns(inner) for inner in schema]
        case _:
            return schema


def to_yaml(content: dict[str, Any]) -> str:
    """The document as YAML, as in the file `openapi.yaml`."""
    return yaml.dump(content, Dumper=_WithoutAliases, sort_keys=False, allow_unicode=True, width=120)


class _WithoutAliases(yaml.SafeDumper):
    """Repeats equal parts instead of using YAML anchors and aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _models(operation: Operation) -> list[Any]:
    return [model for model in (operation.returns, operation.body, operation.query) if model is not None]


def _schema(model: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([model], ref_template=REF)
    return schema


def _operation(path: str, handler: HTTPRouteHandler, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": handler.handler_name,
        "summary": handler.summary or "",
        "description": (handler.fn.__doc__ or "").strip(),
    }
    if not path.startswith("/v1") or operation.keyless:
        described["security"] = []
    parameters = [*_path_parameters(path), *_query_parameters(operation)]
    if operation.creates:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        )
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _schema(operation.body)}},
        }
    if operation.form is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"multipart/form-data": {"schema": _form(operation.form)}},
        }
    content = {operation.media: {"schema": _schema(operation.returns)} if operation.returns is not None else {}}
    described["responses"] = {
        "200": {"description": "Done.", "content": content},
        "default": {
            "description": "Refused; `error.code` is stable.",
            "content": {"application/json": {"schema": _schema(ErrorBody)}},
        },
    }
    return described


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part.strip("{}").split(":")[0] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    (_,), components = msgspec.json.schema_components([operation.query], ref_template=REF)
    schema = components[operation.query.__name__]
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", []), "schema": field}
        for name, field in schema["properties"].items()
    ]


_BINARY = ("file", "data")


def _form(fields: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [name for name in ("file", "purpose", "data") if name in fields],
        "properties": {
            name: {"type": "string", "description": text, **({"format": "binary"} if name in _BINARY else {})}
            for name, text in fields.items()
        },
    }
