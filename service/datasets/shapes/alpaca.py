"""Alpaca: `{"instruction": …, "input": …, "output": …}`, with earlier turns in `history`.

Sources: Stanford Alpaca; the documentation of LLaMA-Factory (`history`, `system`, `tools`, `images`), which shows that
answers in the history are trained too; ChatGLM and ms-swift (`query` or `prompt` with `response` and `history`);
Self-Instruct (`instances`).
"""

from __future__ import annotations

from typing import Any

from service.datasets.shapes import transcripts
from service.datasets.shapes.images import with_images
from service.datasets.shapes.json_texts import parsed
from service.datasets.shapes.registry import CannotConvert, NoText, Row, Shape, register
from service.datasets.shapes.turns import chat_example, messages_of, plain_text, said, user_text

_QUESTIONS = ("instruction", "query", "prompt", "question")
_ANSWERS = ("output", "response", "answer")
_NO_INPUT = ("<noinput>", "<no input>", "<nooutput>")
"""What Self-Instruct's prompt makes a model write for an empty input."""


def history_of(row: Row) -> list[Row]:
    """The messages of `history`: pairs of a question and an answer, or turns."""
    history = parsed(row.get("history"))
    if history in (None, "", []):
        return []
    if not isinstance(history, list):
        raise CannotConvert("`history` must be a list of pairs of a question and an answer")
    messages = []
    for place, pair in enumerate(map(parsed, history), start=1):
        if not isinstance(pair, list):
            return messages_of(history)
        if len(pair) != 2:
            raise CannotConvert(f"pair {place} of `history` has {len(pair)} texts; it needs a question and an answer")
        texts = zip(("user", "assistant"), map(plain_text, pair), strict=True)
        messages += [said(role, text) for role, text in texts if text]
    return messages


def question_of(row: Row) -> str:
    """The question of a row, with its input below it. Raises `NoText` if both are empty."""
    key = next((key for key in _QUESTIONS if row.get(key) is not None), "instruction")
    given = row.get("input")
    question = user_text(row.get(key), None if given in _NO_INPUT else given)
    if not question:
        raise NoText(f"`{key}` is empty")
    return question


def _convert(row: Row) -> list[Row]:
    key = next((key for key in _ANSWERS if row.get(key) is not None), "output")
    answer = plain_text(row.get(key))
    if not answer:
        raise NoText(f"`{key}` is empty")
    messages = [*history_of(row), said("user", question_of(row))]
    messages = [*with_images(row, messages), said("assistant", answer)]
    return [chat_example(messages, system=row.get("system"), tools=row.get("tools"))]


def _instances(row: Row) -> list[Row]:
    made = []
    for place, instance in enumerate(row["instances"], start=1):
        if not isinstance(instance, dict):
            raise CannotConvert(f"instance {place} is not an object")
        made += _convert({**instance, "instruction": row.get("instruction")})
    return made


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _recognises(row: Row) -> bool:
    if "messages" in row or "kto_tag" in row:
        return False
    if "instruction" in row and "output" in row:
        return _is_text(row["instruction"]) and _is_text(row["output"]) and not isinstance(row.get("input"), dict)
    return _has_history(row)


def _has_history(row: Row) -> bool:
    """Whether a row has a list of earlier turns, also as JSON in a text."""
    has_texts = any(key in row for key in _QUESTIONS) and any(key in row for key in _ANSWERS)
    return has_texts and "messages" not in row and isinstance(parsed(row.get("history")), list)


def _has_instances(row: Row) -> bool:
    return "messages" not in row and "instruction" in row and isinstance(row.get("instances"), list)


ALPACA = register(
    Shape(
        name="alpaca",
        title="Alpaca",
        keys="`instruction`, `input`, `output`, and `history` for earlier turns",
        format="chat",
        recognises=_recognises,
        convert=_convert,
        in_tables=_has_history,
        markers=transcripts.MARKERS,
    )
)

SELF_INSTRUCT = register(
    Shape(
        name="self_instruct",
        title="Self-Instruct",
        keys="`instruction` with `instances` of `input` and `output`",
        format="chat",
        recognises=_has_instances,
        convert=_instances,
    )
)
