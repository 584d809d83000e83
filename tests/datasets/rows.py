"""Rows and files for the tests of datasets, keyword-only, each valid by default."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from service.catalogue.tokens import ModelFacts, ModelPrice
from service.datasets.report.build import build_report
from service.datasets.report_schema import FileReport, Finding

MODEL = ModelFacts(name="gpt-4o-mini", encoding="o200k_base", max_tokens=65_536)
OLD_MODEL = ModelFacts(name="gpt-3.5-turbo-0613", encoding="cl100k_base", max_tokens=4_096)

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
    "required": ["city"],
}


def message(role: str, content: Any = "Some text.", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def chat(*messages: Any, **more: Any) -> dict[str, Any]:
    default = [message("system", "Be brief."), message("user", "Why?"), message("assistant", "Because.")]
    return {"messages": list(messages) or default, **more}


def asked(question: str = "Why?", answer: Any = "Because.", **more: Any) -> dict[str, Any]:
    return {"messages": [message("user", question), message("assistant", answer)], **more}


def tool(name: str = "weather", parameters: Any = SCHEMA, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": parameters, **more}}


def call(name: str = "weather", arguments: Any = '{"city": "Rome"}', call_id: Any = "call_1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(
    *, calls: Iterable[Any] | None = None, after: Iterable[Any] | None = None, tools: Any = None
) -> dict[str, Any]:
    """A row whose assistant calls a tool, with what follows."""
    following = [message("tool", "20 degrees", tool_call_id="call_1"), message("assistant", "It is warm.")]
    return {
        "messages": [
            message("user", "How warm is Rome?"),
            {"role": "assistant", "tool_calls": [call()] if calls is None else list(calls)},
            *(following if after is None else after),
        ],
        "tools": [tool()] if tools is None else tools,
    }


def function_call_row() -> dict[str, Any]:
    """The same in the older form."""
    return {
        "messages": [
            message("user", "How warm is Rome?"),
            {"role": "assistant", "function_call": call()["function"]},
            message("function", "20 degrees", name="weather"),
            message("assistant", "It is warm."),
        ],
        "functions": [tool()["function"]],
    }


def pair(preferred: Any = "Good.", other: Any = "Bad.", **more: Any) -> dict[str, Any]:
    return {
        "input": {"messages": [message("user", "Why?")]},
        "preferred_output": [message("assistant", preferred)],
        "non_preferred_output": [message("assistant", other)],
        **more,
    }


def graded(**more: Any) -> dict[str, Any]:
    return {"messages": [message("user", "2 + 2?")], "reference_answer": "4", **more}


def with_image(url: Any, *, role: str = "user", count: int = 1, **more: Any) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": "What is this?"}]
    parts += [{"type": "image_url", "image_url": {"url": url, **more}} for _ in range(count)]
    return chat(message(role, parts), message("user", "Well?"), message("assistant", "A cat."))


def completion(prompt: Any = "Is it good? ->", answer: Any = " yes END", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "completion": answer, **more}


def jsonl(*rows: Any) -> bytes:
    """Rows as JSON Lines; bytes and strings are lines as they are."""
    lines = [
        row if isinstance(row, bytes) else row.encode() if isinstance(row, str) else json.dumps(row).encode()
        for row in rows
    ]
    return b"\n".join(lines) + b"\n"


def report_on(data: bytes, *, model: ModelFacts = MODEL, prices: Iterable[ModelPrice] = (), **more: Any) -> FileReport:
    return build_report([data], file_id="file-test", model=model, prices=list(prices), **more)


def findings_of(report: FileReport, code: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.code == code]
