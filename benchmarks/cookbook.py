"""What people run today: the script of OpenAI's cookbook, "Data preparation and analysis for chat model fine-tuning".

Its format checks, its two token counts and its distributions, in the plain way of the notebook: json and tiktoken in
Python loops. `python benchmarks/cookbook.py FILE` prints one JSON object. It needs tiktoken alone.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from typing import Any

import tiktoken

MAX_TOKENS_PER_EXAMPLE = 65_536


def main(path: str) -> None:
    """Reads the whole file, as the notebook does, and prints what the notebook prints."""
    with open(path, encoding="utf-8") as file:
        dataset = [json.loads(line) for line in file]
    encoding = tiktoken.get_encoding("o200k_base")
    conversations = [_tokens(encoding, row["messages"]) for row in dataset]
    answers = [_assistant_tokens(encoding, row["messages"]) for row in dataset]
    billed = sum(min(MAX_TOKENS_PER_EXAMPLE, tokens) for tokens in conversations)
    print(
        json.dumps(
            {
                "examples": len(dataset),
                "errors": _format_errors(dataset),
                "tokens": billed,
                "per_example": _distribution(conversations),
                "assistant": _distribution(answers),
            }
        )
    )


def _format_errors(dataset: list[Any]) -> dict[str, int]:
    errors: dict[str, int] = defaultdict(int)
    for row in dataset:
        if not isinstance(row, dict):
            errors["data_type"] += 1
            continue
        messages = row.get("messages", None)
        if not messages:
            errors["missing_messages_list"] += 1
            continue
        for message in messages:
            if "role" not in message or "content" not in message:
                errors["message_missing_key"] += 1
            if any(key not in ("role", "content", "name", "function_call", "weight") for key in message):
                errors["message_unrecognized_key"] += 1
            if message.get("role", None) not in ("system", "user", "assistant", "function"):
                errors["unrecognized_role"] += 1
            content = message.get("content", None)
            function_call = message.get("function_call", None)
            if (not content and not function_call) or not isinstance(content, str):
                errors["missing_content"] += 1
        if not any(message.get("role", None) == "assistant" for message in messages):
            errors["example_missing_assistant_message"] += 1
    return dict(errors)


def _tokens(encoding: tiktoken.Encoding, messages: list[dict[str, str]]) -> int:
    tokens = 0
    for message in messages:
        tokens += 3
        for key, value in message.items():
            tokens += len(encoding.encode(value))
            if key == "name":
                tokens += 1
    return tokens + 3


def _assistant_tokens(encoding: tiktoken.Encoding, messages: list[dict[str, str]]) -> int:
    tokens = 0
    for message in messages:
        if message["role"] == "assistant":
            tokens += len(encoding.encode(message["content"]))
    return tokens


def _distribution(values: list[int]) -> dict[str, float]:
    tenths = statistics.quantiles(values, n=10)
    return {
        "min": min(values),
        "max": max(values),
        "mean": statistics.mean(values),
        "median": statistics.median(values),
        "p5": tenths[0],
        "p95": tenths[-1],
    }


if __name__ == "__main__":
    main(sys.argv[1])
