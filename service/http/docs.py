"""`/docs`: the OpenAPI document as one HTML page, without scripts and without anything from another host."""

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent) }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 3rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
details { border: 1px solid var(--line); border-radius: 8px; margin: .5rem 0; padding: .5rem .9rem }
summary { cursor: pointer } code, pre { font: 13px/1.5 ui-monospace, monospace }
.method { display: inline-block; width: 4.2rem; font-weight: 700 } .summary { opacity: .7; float: right }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 }
td, th { border-top: 1px solid var(--line); padding: .3rem .5rem; text-align: left; vertical-align: top }
"""

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page loads nothing, runs nothing, and is shown in no frame; its own style is named by its digest."""


def docs_page(document: dict[str, Any]) -> str:
    """Render the OpenAPI document as HTML."""
    info = document["info"]
    groups: dict[str, list[tuple[str, str, Any]]] = {}
    for path, methods in document["paths"].items():
        groups.setdefault(_group(path), []).extend((path, method, operation) for method, operation in methods.items())
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>",
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style>",
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description']).replace('`', '')}</p>",
        "<p>The machine-readable form is <a href=/openapi.yaml>openapi.yaml</a>.</p>",
    ]
    schemas = document["components"]["schemas"]
    for group, entries in groups.items():
        parts.append(f"<h2>{escape(group)}</h2>")
        parts += [_entry(path, method, operation, schemas) for path, method, operation in entries]
    return "\n".join(parts)


def _group(path: str) -> str:
    parts = path.strip("/").split("/")
    return parts[1].replace("_", " ").capitalize() if parts[0] == "v1" else "Service"


def _entry(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    parts = [
        f"<details><summary><span class=summary>{escape(operation['summary'])}</span>"
        f"<span class=method>{method.upper()}</span> <code>{escape(path)}</code></summary>",
        f"<p>{escape(operation['description'])}</p>",
    ]
    rows = [(item["name"], item["schema"], item["required"], item["in"]) for item in operation.get("parameters", [])]
    parts.append(_table("Parameters", rows, schemas))
    for media, body in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(_properties(f"Body ({media})", body["schema"], schemas))
    for media, body in operation["responses"]["200"]["content"].items():
        parts.append(_properties(f"Response ({media})", body.get("schema", {}), schemas))
    return "".join(parts) + "</details>"


def _properties(title: str, schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    target = schemas.get(schema.get("$ref", "").rsplit("/", 1)[-1], schema)
    required = target.get("required", [])
    rows = [(name, field, name in required, "") for name, field in target.get("properties", {}).items()]
    return _table(title, rows, schemas)


def _table(title: str, rows: list[tuple[str, dict[str, Any], bool, str]], schemas: dict[str, Any]) -> str:
    if not rows:
        return ""
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code>{' *' if required else ''}<td>{escape(_type(schema))}<td>{escape(place)}"
        for name, schema, required, place in rows
    )
    return f"<table><tr><th>{escape(title)}<th>Type<th></tr>{cells}</table>"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[-1])
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    kind = str(schema.get("type", "any"))
    return f"{kind} of {_type(schema.get('items', {}))}" if kind == "array" else kind
