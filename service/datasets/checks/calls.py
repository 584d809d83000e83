"""Checks of tool calls: each names a declared tool, has arguments that fit the tool's schema, and is answered.

Source of the rules: OpenAI's API reference for chat completions (`tool_calls`, `tool_call_id`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from service.datasets.checks.registry import Hit, example_check
from service.datasets.checks.tools import (
    CALLING,
    SCHEMA_SECONDS,
    SchemaFault,
    called_names,
    compile_schema,
    definitions,
    holders,
)
from service.datasets.parsing.formats import calls_of, message_lists, messages_of
from service.datasets.parsing.json_faults import why_not_json
from service.processes.guard import guarded

SECTION = "Tools and functions"
_MAX_SCHEMA_FAULTS = 5


@example_check("call_shape", "error", SECTION, formats=("chat", "preference"), needs=CALLING)
def call_shape(row: dict[str, Any]) -> Iterator[Hit]:
    """`tool_calls` is not a non-empty list of `{"id", "type": "function", "function": {"name", "arguments"}}`."""
    for pointer, message in messages_of(row):
        calls = message.get("tool_calls")
        if calls is not None and (not isinstance(calls, list) or not calls):
            yield Hit(f"{pointer}/tool_calls", calls, "tool_calls must be a list with at least one call.")
        for index, call in enumerate(calls if isinstance(calls, list) else ()):
            place = f"{pointer}/tool_calls/{index}"
            if not isinstance(call, dict):
                yield Hit(place, call, "A call is an object with id, type and function.")
            elif call.get("type", "function") != "function":
                yield Hit(f"{place}/type", call["type"], 'The type of a call must be "function".')
            elif not isinstance(call.get("function"), dict):
                yield Hit(f"{place}/function", call, "A call needs its name and arguments in function.")
        older = message.get("function_call")
        if older is not None and not isinstance(older, dict):
            yield Hit(f"{pointer}/function_call", older, "function_call is an object with name and arguments.")
        for place, function, _ in calls_of(message):
            if not isinstance(function.get("name"), str) or not function["name"]:
                yield Hit(f"{pointer}{place}/name", function, "A call needs the name of the tool that it calls.")


@example_check("call_not_by_assistant", "error", SECTION, formats=("chat", "preference"), needs=CALLING)
def call_not_by_assistant(row: dict[str, Any]) -> Iterator[Hit]:
    """A message whose role is not assistant calls tools. Only assistant messages can call them."""
    for pointer, message in messages_of(row):
        for key in ("tool_calls", "function_call"):
            if message.get(key) is not None and message.get("role") != "assistant":
                yield Hit(
                    f"{pointer}/{key}", message[key], "Only assistant messages can call tools; move or remove it."
                )


@example_check("call_undeclared", "error", SECTION, formats=("chat", "preference"), needs=CALLING)
def call_undeclared(row: dict[str, Any]) -> Iterator[Hit]:
    """A call names a tool that the row does not declare, although the row declares tools."""
    if not _declares(row):
        return
    declared = {function.get("name") for _, function in definitions(row) if isinstance(function.get("name"), str)}
    for pointer, _, name in called_names(row):
        if name not in declared:
            known = ", ".join(sorted(filter(None, declared))[:5]) or "none are declared"
            message = (
                f"{name[:64]!r} is not among the tools of this row ({known[:200]}); declare it or rename the call."
            )
            yield Hit(f"{pointer}/name", name, message)


@example_check("calls_without_definitions", "warning", SECTION, formats=("chat", "preference"), needs=CALLING)
def calls_without_definitions(row: dict[str, Any]) -> Iterator[Hit]:
    """A row calls functions and defines none. Omitting all definitions saves tokens, and upstreams accept it (OpenAI's
    guide to fine-tuning, function calling). But then requests to the tuned model must omit them too.
    """
    if _declares(row):
        return
    for pointer, _, name in called_names(row):
        message = "The row defines no function and calls this one. Define it in tools, or send no tools at inference."
        yield Hit(f"{pointer}/name", name, message)
        return


@example_check("arguments_invalid", "error", SECTION, formats=("chat", "preference"), needs=CALLING)
def arguments_invalid(row: dict[str, Any]) -> Iterator[Hit]:
    """The arguments of a call are not a string that parses to a JSON object."""
    for pointer, message in messages_of(row):
        for place, function, _ in calls_of(message):
            arguments = function.get("arguments")
            parsed = _parsed(arguments)
            if isinstance(parsed, str):
                yield Hit(f"{pointer}{place}/arguments", arguments, parsed)


@example_check("arguments_against_schema", "error", SECTION, formats=("chat", "preference"), needs=CALLING)
def arguments_against_schema(row: dict[str, Any]) -> Iterator[Hit]:
    """The arguments of a call do not fit the parameters of its tool: types, required names, enumerations."""
    schemas: dict[str, dict[str, Any]] = {}
    for _, function in definitions(row):
        name, parameters = function.get("name"), function.get("parameters")
        if isinstance(name, str) and isinstance(parameters, dict):
            schemas.setdefault(name, parameters)
    for pointer, function, name in called_names(row):
        if name in schemas:
            with guarded(f"validating a call of {name[:64]!r}", cpu_seconds=SCHEMA_SECONDS):
                faults = _schema_faults(schemas[name], function.get("arguments"))
            for fault in faults:
                message = f"The arguments do not fit the parameters of {name[:64]!r}: {fault}"
                yield Hit(f"{pointer}/arguments", function.get("arguments"), message)


@example_check("call_id_missing", "error", SECTION, formats=("chat", "preference"), needs=("tool_calls", "tool"))
def call_id_missing(row: dict[str, Any]) -> Iterator[Hit]:
    """A tool call has no id, or a tool message has no `tool_call_id` that names the call it answers."""
    for pointer, message in messages_of(row):
        for place, _, call in calls_of(message):
            if call is not None and not (isinstance(call.get("id"), str) and call["id"]):
                call_pointer = place.removesuffix("/function")
                advice = "A tool call needs an id, a string that its tool message repeats."
                yield Hit(f"{pointer}{call_pointer}/id", call, advice)
        if message.get("role") == "tool" and not isinstance(message.get("tool_call_id"), str):
            yield Hit(f"{pointer}/tool_call_id", message, "A tool message needs the id of the call that it answers.")


@example_check("call_id_duplicate", "error", SECTION, formats=("chat", "preference"), needs=CALLING)
def call_id_duplicate(row: dict[str, Any]) -> Iterator[Hit]:
    """Two calls in one conversation have the same id."""
    for pointer, messages in message_lists(row):
        seen: set[str] = set()
        for index, call_pointer, call_id in _call_ids(messages):
            if call_id in seen:
                place = f"{pointer}/{index}{call_pointer}/id"
                yield Hit(place, call_id, "Another call has the same id; give each call its own.")
            seen.add(call_id)


@example_check("call_unanswered", "error", SECTION, formats=("chat", "preference"), needs=CALLING)
def call_unanswered(row: dict[str, Any]) -> Iterator[Hit]:
    """A conversation continues after a call without a tool message that answers it before any other message."""
    for pointer, messages in message_lists(row):
        ids = list(_call_ids(messages))
        for index, call_pointer, call_id in ids:
            following = messages[index + 1 :]
            if not following:
                continue
            answers: set[object] = set()
            for message in following:
                if not isinstance(message, dict) or message.get("role") != "tool":
                    break
                answer = message.get("tool_call_id")
                answers.add(answer if isinstance(answer, str) else None)
            if call_id not in answers:
                place = f"{pointer}/{index}{call_pointer}"
                yield Hit(place, call_id, "No tool message directly after this call answers it; add one.")
        for index, message in enumerate(messages[:-1]):
            if isinstance(message, dict) and isinstance(message.get("function_call"), dict):
                answer = messages[index + 1]
                if not isinstance(answer, dict) or answer.get("role") not in ("function", "tool"):
                    place = f"{pointer}/{index}/function_call"
                    yield Hit(place, message["function_call"], "No function message follows this call; add its result.")


@example_check("tool_call_id_unresolved", "error", SECTION, formats=("chat", "preference"), needs=("tool",))
def tool_call_id_unresolved(row: dict[str, Any]) -> Iterator[Hit]:
    """A tool message answers no earlier call."""
    for pointer, messages in message_lists(row):
        made: dict[str, int] = {}
        for index, _, call_id in _call_ids(messages):
            made.setdefault(call_id, index)
        for index, message in enumerate(messages):
            if not isinstance(message, dict) or message.get("role") != "tool":
                continue
            answered = message.get("tool_call_id")
            if isinstance(answered, str) and made.get(answered, len(messages)) >= index:
                place = f"{pointer}/{index}/tool_call_id"
                yield Hit(place, answered, "No earlier call has this id; correct it or remove the message.")


def _declares(row: dict[str, Any]) -> bool:
    return any(holder.get(key) for _, holder in holders(row) for key in ("tools", "functions"))


def _call_ids(messages: list[Any]) -> Iterator[tuple[int, str, str]]:
    for index, message in enumerate(messages):
        if isinstance(message, dict):
            for place, _, call in calls_of(message):
                if call is not None and isinstance(call.get("id"), str) and call["id"]:
                    yield index, place.removesuffix("/function"), call["id"]


def _parsed(arguments: object) -> dict[str, Any] | str:
    """The arguments as an object, or a message that says what is wrong with them."""
    if not isinstance(arguments, str):
        return "arguments must be a string that contains JSON, not the object itself; encode it."
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return f"The arguments are not JSON{why_not_json(arguments)}"
    if not isinstance(value, dict):
        return "The arguments must be a JSON object; write {} if there are none."
    return value


def _schema_faults(parameters: dict[str, Any], arguments: object) -> list[str]:
    validator = compile_schema(parameters)
    parsed = _parsed(arguments)
    if isinstance(validator, SchemaFault) or isinstance(parsed, str):
        return []
    faults: list[str] = []
    try:
        for error in validator.iter_errors(parsed):
            path = "/" + "/".join(str(step) for step in error.instance_path)
            faults.append(f"{error.message[:160]} (at {path[:80]}).")
            if len(faults) == _MAX_SCHEMA_FAULTS:
                break
    except (ValueError, RecursionError) as error:
        faults.append(f"{str(error)[:160]}.")
    return faults
