"""Checks of tool definitions (`tools`, or the older `functions`): their names, and their parameters as JSON Schema.

Source of the rules: OpenAI's API reference for chat completions (`tools`, `functions`) and its guide to fine-tuning
with functions. Many rows have the same definitions, so compiled schemas are cached.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import jsonschema_rs
import msgspec

from service.datasets.checks.registry import Hit, example_check
from service.datasets.checks.schema_mistakes import first_mistake
from service.datasets.parsing.formats import MAX_TOOLS, calls_of, messages_of
from service.json_schemas import limit_exceeded
from service.processes.guard import guarded

SECTION = "Tools and functions"
DECLARING = ("tools", "functions")
CALLING = ("tool_calls", "function_call")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=10_000)
SCHEMA_SECONDS = 2.0
"""The processor time in which a definition has to be compiled, or a call validated; both usually take microseconds."""

_DRAFTS = (jsonschema_rs.Draft202012Validator, jsonschema_rs.Draft7Validator)
Validator = jsonschema_rs.Draft202012Validator | jsonschema_rs.Draft7Validator


class SchemaFault(NamedTuple):
    """Why parameters cannot be used as a schema: they are none, or exceed a limit (`too_complex`)."""

    message: str
    too_complex: bool = False


@example_check(
    "tools_and_functions", "error", SECTION, formats=("chat", "preference"), needs=DECLARING, fix="functions_to_tools"
)
def tools_and_functions(row: dict[str, Any]) -> Iterator[Hit]:
    """A row declares both `tools` and the older `functions`. It may declare only one of them."""
    for pointer, holder in holders(row):
        if holder.get("tools") and holder.get("functions"):
            yield Hit(f"{pointer}/functions", holder["functions"], "Declare tools or functions, not both.")


@example_check("tools_count", "error", SECTION, formats=("chat", "preference"), needs=DECLARING)
def tools_count(row: dict[str, Any]) -> Iterator[Hit]:
    """`tools` or `functions` is not a list of up to 128 definitions. An empty list means that there are none."""
    for pointer, holder in holders(row):
        for key in ("tools", "functions"):
            declared = holder.get(key)
            if declared is None:
                continue
            if not isinstance(declared, list):
                yield Hit(f"{pointer}/{key}", declared, f"{key} must be a list of definitions.")
            elif len(declared) > MAX_TOOLS:
                message = f"{key} has {len(declared)} definitions; {MAX_TOOLS} are allowed."
                yield Hit(f"{pointer}/{key}", "", message)


@example_check(
    "parallel_tool_calls_type",
    "error",
    SECTION,
    formats=("chat", "preference", "reinforcement"),
    needs=("parallel_tool_calls",),
)
def parallel_tool_calls_type(row: dict[str, Any]) -> Iterator[Hit]:
    """`parallel_tool_calls` is not true or false, but a string, a number or null."""
    for pointer, holder in holders(row):
        value = holder.get("parallel_tool_calls", True)
        if not isinstance(value, bool):
            place = f"{pointer}/parallel_tool_calls"
            yield Hit(place, value, "parallel_tool_calls must be true or false, without quotes; or remove it.")


@example_check("tool_shape", "error", SECTION, formats=("chat", "preference"), needs=DECLARING)
def tool_shape(row: dict[str, Any]) -> Iterator[Hit]:
    """A tool is not `{"type": "function", "function": {"name": …, "parameters": …}}`, or an entry of `functions` is not
    such an inner object.
    """
    for pointer, holder in holders(row):
        tools, functions = holder.get("tools"), holder.get("functions")
        for index, tool in enumerate(tools if isinstance(tools, list) else ()):
            place = f"{pointer}/tools/{index}"
            if not isinstance(tool, dict):
                yield Hit(place, tool, 'A tool is an object: {"type": "function", "function": {…}}.')
            elif tool.get("type") != "function":
                yield Hit(f"{place}/type", tool.get("type"), 'The type of a tool must be "function".')
            elif not isinstance(tool.get("function"), dict):
                yield Hit(f"{place}/function", tool.get("function"), "A tool needs its definition in function.")
        for index, function in enumerate(functions if isinstance(functions, list) else ()):
            if not isinstance(function, dict):
                yield Hit(f"{pointer}/functions/{index}", function, "A function is an object with a name.")


@example_check("tool_name_invalid", "error", SECTION, formats=("chat", "preference"), needs=DECLARING)
def tool_name_invalid(row: dict[str, Any]) -> Iterator[Hit]:
    """The name of a tool does not consist of 1 to 64 letters, digits, underscores or hyphens."""
    for pointer, function in definitions(row):
        name = function.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield Hit(f"{pointer}/name", name, "A tool's name must be 1 to 64 letters, digits, underscores or hyphens.")


@example_check("tool_name_duplicate", "error", SECTION, formats=("chat", "preference"), needs=DECLARING)
def tool_name_duplicate(row: dict[str, Any]) -> Iterator[Hit]:
    """Two tools of a row have the same name."""
    seen: set[str] = set()
    for pointer, function in definitions(row):
        name = function.get("name")
        if isinstance(name, str):
            if name in seen:
                yield Hit(f"{pointer}/name", name, "Another tool of this row has the same name; rename or remove one.")
            seen.add(name)


@example_check("tool_parameters_invalid", "error", SECTION, formats=("chat", "preference"), needs=DECLARING)
def tool_parameters_invalid(row: dict[str, Any]) -> Iterator[Hit]:
    """The parameters of a tool are not a JSON Schema of an object (2020-12 or draft 7) without external references."""
    for pointer, function in definitions(row):
        parameters = function.get("parameters")
        if parameters is None:
            continue
        fault = schema_fault(parameters)
        if fault is not None and not fault.too_complex:
            message = f"The parameters of this tool are not a JSON Schema of an object: {fault.message[:200]}"
            yield Hit(f"{pointer}/parameters", parameters, message)


@example_check("schema_too_complex", "warning", SECTION, formats=("chat", "preference"), needs=DECLARING)
def schema_too_complex(row: dict[str, Any]) -> Iterator[Hit]:
    """The parameters of a tool exceed a limit of [schemas](limits.md): bytes, depth, patterns, or the subschemas for
    which they stand once references are followed. Neither they nor the calls of the tool are checked.
    """
    for pointer, function in definitions(row):
        parameters = function.get("parameters")
        fault = schema_fault(parameters) if isinstance(parameters, dict) else None
        if fault is not None and fault.too_complex:
            message = f"The parameters of this tool are too complex, and its calls are not checked: {fault.message}"
            yield Hit(f"{pointer}/parameters", parameters, message)


@example_check(
    "older_functions",
    "info",
    SECTION,
    formats=("chat", "preference"),
    needs=("functions", "function_call"),
    fix="functions_to_tools",
)
def older_functions(row: dict[str, Any]) -> Iterator[Hit]:
    """A row uses `functions` or `function_call`, which `tools` and `tool_calls` have replaced. Convert them for newer
    models.
    """
    for pointer, holder in holders(row):
        if holder.get("functions"):
            yield Hit(f"{pointer}/functions", "", "functions is the older form of tools; convert it for newer models.")
            return
    for pointer, message in messages_of(row):
        if message.get("function_call") is not None:
            place = f"{pointer}/function_call"
            yield Hit(place, "", "function_call is the older form of tool_calls; convert it for newer models.")
            return


def holders(row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects that can declare tools: the row itself, or the input of a preference row."""
    prompt = row.get("input")
    if isinstance(prompt, dict) and "messages" not in row:
        yield "/input", prompt
    else:
        yield "", row


def definitions(row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every function definition of a row that is an object, with its pointer."""
    for pointer, holder in holders(row):
        tools, functions = holder.get("tools"), holder.get("functions")
        for index, tool in enumerate(tools if isinstance(tools, list) else ()):
            if isinstance(tool, dict) and isinstance(tool.get("function"), dict):
                yield f"{pointer}/tools/{index}/function", tool["function"]
        for index, function in enumerate(functions if isinstance(functions, list) else ()):
            if isinstance(function, dict):
                yield f"{pointer}/functions/{index}", function


def schema_fault(parameters: object) -> SchemaFault | None:
    """The reason why `parameters` cannot be used as a JSON Schema of an object; None if they can."""
    if not isinstance(parameters, dict):
        return SchemaFault("it must be an object.")
    compiled = compile_schema(parameters)
    return compiled if isinstance(compiled, SchemaFault) else None


def compile_schema(parameters: dict[str, Any]) -> Validator | SchemaFault:
    """A validator for `parameters`, or what is wrong with them.

    Nothing is fetched: an external reference is a fault. A process with limits ends if it takes too long.
    """
    try:
        return _compiled(msgspec.json.encode(parameters))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return SchemaFault("it cannot be read as JSON.")


def forget_schemas() -> None:
    """Free the compiled schemas, so that a file does not use the memory that another file's left."""
    _compiled.cache_clear()


@lru_cache(maxsize=512)
def _compiled(encoded: bytes) -> Validator | SchemaFault:
    schema = msgspec.json.decode(encoded)
    kind = schema.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        return SchemaFault(f"its type must be object, not {str(kind)[:40]}.")
    with guarded("reading the parameters of a tool", cpu_seconds=SCHEMA_SECONDS):
        exceeded = limit_exceeded(schema)
    if exceeded is not None:
        return SchemaFault(exceeded, too_complex=True)
    fault = ""
    with guarded("compiling the parameters of a tool", cpu_seconds=SCHEMA_SECONDS):
        for draft in _DRAFTS:
            try:
                return draft(schema, pattern_options=_PATTERNS, offline=True)
            except (jsonschema_rs.ValidationError, ValueError) as error:
                message = getattr(error, "message", None) or str(error)
                fault = fault or f"{message.splitlines()[0]} (at {_path(error)})."
    return SchemaFault(first_mistake(schema) or fault)


def _path(error: Exception) -> str:
    return "/" + "/".join(str(step) for step in getattr(error, "instance_path", []))


def called_names(row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Every call in a row whose function has a name, as (pointer, function object, name)."""
    for pointer, message in messages_of(row):
        for place, function, _ in calls_of(message):
            name = function.get("name")
            if isinstance(name, str):
                yield f"{pointer}{place}", function, name
