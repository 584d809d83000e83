"""Texts without questions: `{"text": …}`, as TRL and LLaMA-Factory take them, also with a chat template filled in."""

from __future__ import annotations

from functools import lru_cache

from service.datasets.shapes import transcripts
from service.datasets.shapes.registry import CannotConvert, NoText, Row, Shape, register

_ABOUT = frozenset(
    {"id", "meta", "metadata", "source", "url", "timestamp", "date", "created", "added", "lang", "language", "title",
     "author", "license", "tokens", "token_count", "num_tokens", "score", "dataset", "split", "category", "topic"}
)  # fmt: skip
"""Keys that say something about a text. With others, such as `label`, it is a question."""


def _is_text(row: Row) -> bool:
    return isinstance(row.get("text"), str) and row.keys() - _ABOUT == {"text"}


def _only_text(row: Row) -> str:
    """The only text of a row besides what says something about it, under any key; "" if there are several."""
    keys = row.keys() - _ABOUT
    value = row[next(iter(keys))] if len(keys) == 1 else None
    return value if isinstance(value, str) else ""


def _is_transcript(row: Row) -> bool:
    messages = _messages_in(_only_text(row))
    return messages is not None and messages[-1]["role"] == "assistant"


@lru_cache(maxsize=1)
def _messages_in(text: str) -> list[Row] | None:
    """The messages of a transcript, which a row is recognised by and then becomes."""
    return transcripts.messages_in(text)


def _has_tags(row: Row) -> bool:
    """Whether a row is a transcript other than Anthropic's, which is the shape `anthropic_text`."""
    text = _only_text(row)
    return _is_transcript(row) and not ("\n\nAssistant:" in text and text.lstrip().startswith("Human:"))


def _chat(row: Row) -> list[Row]:
    messages = _messages_in(_only_text(row))
    if messages is None or messages[-1]["role"] != "assistant":
        raise CannotConvert("not every turn of the text is found by the tags of a chat template")
    return [{"messages": [dict(message) for message in messages]}]


def _completion(row: Row) -> list[Row]:
    if not row["text"].strip():
        raise NoText("`text` is empty")
    return [{"prompt": "", "completion": row["text"]}]


TRANSCRIPT = register(
    Shape(
        name="transcript",
        title="transcripts",
        keys="`text` with the tags of a chat template",
        format="chat",
        recognises=_has_tags,
        convert=_chat,
        in_tables=_is_transcript,
        markers=transcripts.MARKERS,
        note="The texts were split at the tags that begin a turn, which are not in the examples.",
    )
)

TEXT = register(
    Shape(
        name="text",
        title="language modelling",
        keys="`text` alone",
        format="completion",
        recognises=_is_text,
        convert=_completion,
        note="The texts have no questions: they are completions with an empty prompt. For chat examples give "
        "the option `prompt_template`, and set the option `target_format` to chat.",
    )
)
