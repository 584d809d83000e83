"""Which keys carry nothing to learn: numbers, dates, and what describes an example rather than being a part of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from service.datasets.other_keys.names import plain_name

METADATA_NAMES = frozenset({
    "id", "ids", "uid", "uuid", "guid", "idx", "index",
    "key", "hash", "sha", "md5", "ref", "row", "row_id",
    "item_id", "example_id", "sample_id", "prompt_id", "question_id",
    "conversation_id", "conv_id", "chat_id", "session_id", "thread_id",
    "user_id", "message_id", "msg_id", "parent_id", "request_id",
    "response_id", "turn", "turn_id", "round", "source", "sources",
    "origin", "provenance", "dataset", "dataset_name", "dataset_id",
    "data_source", "corpus", "subset", "split", "fold", "partition",
    "config", "date", "datetime", "time", "timestamp", "ts",
    "created", "created_at", "created_time", "updated", "updated_at",
    "modified", "modified_at", "create_time", "update_time", "year", "lang",
    "language", "languages", "locale", "country", "region", "score",
    "scores", "rating", "ratings", "stars", "votes", "upvotes",
    "downvotes", "likes", "rank", "quality", "quality_score", "difficulty",
    "confidence", "perplexity", "ppl", "reward", "toxicity", "similarity",
    "tags", "tag", "topic", "topics", "category", "categories",
    "domain", "field", "task", "task_type", "task_name", "type",
    "kind", "object", "license", "licence", "copyright", "author",
    "authors", "annotator", "annotators", "annotator_id", "labeler",
    "worker_id", "speaker", "sender", "from", "username", "nickname",
    "version", "revision", "model", "model_name", "model_id", "model_slug",
    "engine", "generator", "provider", "temperature", "top_p", "max_tokens",
    "seed", "usage", "tokens", "token_count", "num_tokens", "n_tokens",
    "length", "len", "num_turns", "n_turns", "turns_count", "finish_reason",
    "stop_reason", "end_turn", "logprobs", "system_fingerprint", "service_tier",
    "channel", "recipient", "status", "state", "flag", "flags",
    "file", "filename", "file_name", "path", "filepath", "url",
    "uri", "link", "href", "website", "title_id", "page",
    "page_number", "line", "line_number", "offset", "position", "start",
    "end", "cache_control", "citations", "annotations", "metadata", "meta",
    "info", "additional_info", "extra_info", "attributes", "properties",
})  # fmt: skip
"""Names of keys that describe an example: identifiers, sources, dates, languages, scores, splits, tools."""

_CONTAINERS = frozenset({
    "metadata", "meta", "info", "additional_info", "extra_info", "attributes", "properties", "usage", "annotations",
})  # fmt: skip
_CARRIERS = frozenset({
    "system", "system_prompt", "system_message", "instruction", "instructions",
    "context", "input", "history", "prompt", "question", "answer",
    "response", "output", "completion", "reasoning", "reasoning_content",
    "thinking", "rationale", "explanation", "document", "documents",
    "passage", "image", "images", "text", "content",
})  # fmt: skip
_INSTRUCTION = re.compile("train|loss|mask|weight|learn|skip|ignore|exclu|discard|label|reject")
_IDENTIFIER = re.compile(
    r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|(?=[a-f]*[0-9])[0-9a-f]{12,64}|[+-]?[0-9]+(?:[.,][0-9]+)?%?"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]{5,15}(?:Z|[+-][0-9:]{2,6})?)?"
)
MAX_METADATA_CHARS = 200
"""A longer text is not called metadata, whatever its name."""

_MIN_REPEATED_CHARS = 20
_MAX_DEPTH = 8


def is_metadata(
    key: str, value: Any, texts: Callable[[], Collection[str]], *, within: bool = False, depth: int = 0
) -> bool:
    """Whether a value carries nothing to learn.

    That is so for nothing (null, an empty text or list), for numbers, booleans, identifiers and dates, unless the name
    sounds like an instruction to the trainer (`loss`, `label`); for a text that the example has already, which is one
    of `texts()` or, if it is long, a part of one; and for a short text under one of `METADATA_NAMES`, or inside an
    object of such a name (`within`).
    """
    name = plain_name(key)
    described = (name in METADATA_NAMES or within) and name not in _CARRIERS
    if value is None or (isinstance(value, (str, list, dict)) and not value):
        return True
    if isinstance(value, (bool, int, float)):
        return described or _INSTRUCTION.search(name) is None
    if isinstance(value, str):
        text = value.strip()
        if not text or any(
            text == each.strip() or (len(text) >= _MIN_REPEATED_CHARS and text in each) for each in texts()
        ):
            return True
        if described:
            return len(text) <= MAX_METADATA_CHARS and "\n" not in text
        return _IDENTIFIER.fullmatch(text) is not None and _INSTRUCTION.search(name) is None
    if depth >= _MAX_DEPTH:
        return False
    inside = within or name in _CONTAINERS
    if isinstance(value, dict):
        return all(is_metadata(inner, each, texts, within=inside, depth=depth + 1) for inner, each in value.items())
    return all(is_metadata(key, each, texts, within=within, depth=depth + 1) for each in value)
