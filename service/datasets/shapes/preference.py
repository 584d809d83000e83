"""Preferences of other tools: a prompt with a chosen and a rejected answer.

Sources: the documentation of TRL (strings, lists of messages, prompts that are implicit in both lists) and of
LLaMA-Factory (`instruction`, or `conversations` with objects), ms-swift (`rejected_response`), Anthropic's hh-rlhf
(transcripts), and UltraFeedback, Nectar and PKU-SafeRLHF (answers with ratings, ranks or the number of the better one).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from service.datasets.shapes import transcripts
from service.datasets.shapes.alpaca import history_of
from service.datasets.shapes.images import with_images
from service.datasets.shapes.json_texts import parsed
from service.datasets.shapes.registry import CannotConvert, NoText, Row, Shape, register
from service.datasets.shapes.sharegpt import turns_of
from service.datasets.shapes.turns import (
    MARKERS,
    STRUCTURE,
    is_turn,
    messages_of,
    plain_text,
    said,
    tools_of,
    user_text,
)

_SIDES = (
    ("chosen", "rejected"), ("chosen_response", "rejected_response"), ("response_chosen", "response_rejected"),
    ("accepted", "rejected"), ("preferred", "rejected"), ("preferred", "dispreferred"),
    ("response", "rejected_response"),
)  # fmt: skip
_QUESTIONS = ("prompt", "instruction", "question", "query", "input")
_SYSTEM = ("system", "system_prompt")
_BEGINNINGS = ("Human:", "<|", "<s>", "<bos>", "<start_of_turn>", "[INST]", "### ", "USER:", "Below is an instruction")
_MARKERS = re.compile(f"{MARKERS.pattern}|{transcripts.MARKERS.pattern}")


def preference_example(row: Row, preferred: Any, other: Any) -> Row:
    """A preference example with the prompt of `row` and two answers: texts, transcripts, messages, or lists of these.

    What both answers begin with is a part of the prompt.
    """
    good, bad = _side(preferred, "chosen"), _side(other, "rejected")
    shared = 0
    while shared < min(len(good), len(bad)) - 1 and good[shared] == bad[shared]:
        shared += 1
    if len(good) != shared + 1 or len(bad) != shared + 1:
        raise CannotConvert(
            f"chosen and rejected have {len(good) - shared} and {len(bad) - shared} messages after the ones that they "
            "share; each may have one, the answer"
        )
    for message in (good[-1], bad[-1]):
        if message["role"] != "assistant":
            raise CannotConvert("chosen and rejected must end with the assistant's answer")
    if good[-1] == bad[-1]:
        raise CannotConvert("chosen and rejected are the same, so there is nothing to prefer")
    messages = _with_shared(_prompt(row), good[:shared])
    if not messages or messages[-1]["role"] == "assistant":
        raise CannotConvert("the row has no prompt that ends with a question; add `prompt`")
    made: Row = {"messages": with_images(row, messages)}
    if tools := tools_of(row.get("tools")):
        made["tools"] = tools
    return {"input": made, "preferred_output": good[-1:], "non_preferred_output": bad[-1:]}


def _side(value: Any, name: str) -> list[Row]:
    """One side as messages."""
    found = parsed(value)
    if isinstance(found, dict):
        found = [found]
    if isinstance(found, list):
        if not all(is_turn(turn) for turn in found):
            raise CannotConvert(f"`{name}` must be a text, a message or a list of messages")
        messages = messages_of(found)
    else:
        text = plain_text(found)
        turns = transcripts.messages_in(text) if _is_transcript(text) else None
        messages = turns if turns is not None else [said("assistant", transcripts.without_end(text))]
    if not messages or not (messages[-1].get("content") or messages[-1].get("tool_calls")):
        raise NoText(f"`{name}` is empty")
    return messages


def _prompt(row: Row) -> list[Row]:
    """The messages of the prompt; none if the sides contain it."""
    system = next((plain_text(row[key]) for key in _SYSTEM if row.get(key)), "")
    messages = [said("system", system)] if system else []
    turns = turns_of(row)
    if turns is None and "rejected_response" in row and isinstance(row.get("messages"), list):
        turns = row["messages"][:-1]
    if turns:
        return [*messages, *messages_of(turns)]
    key = next((key for key in _QUESTIONS if row.get(key)), None)
    given = parsed(row[key]) if key is not None else None
    if isinstance(given, list):
        return [*messages, *messages_of(given)]
    text = user_text(given, row.get("input") if key == "instruction" else None)
    if not text:
        return messages
    found = (transcripts.messages_in(text) if _is_transcript(text) else None) or [said("user", text)]
    return [*messages, *history_of(row), *found]


def _with_shared(prompt: list[Row], shared: list[Row]) -> list[Row]:
    """The prompt and what both sides begin with, of which each may repeat the other."""
    if not shared or prompt[-len(shared) :] == shared:
        return prompt
    if not prompt or shared[: len(prompt)] == prompt:
        return shared
    places = [place for place, message in enumerate(shared) if message == prompt[-1]]
    if places and places[-1] == len(shared) - 1:
        return [*prompt[:-1], *shared]
    return [*prompt, *shared]


def _listed(row: Row) -> bool:
    """Whether the answers are a list of two, the better first, as LLaMA-Factory had them."""
    answers = row.get("output")
    texts = isinstance(answers, list) and len(answers) == 2 and all(isinstance(answer, str) for answer in answers)
    return texts and "instruction" in row and "messages" not in row


def _sides(row: Row) -> tuple[str, str] | None:
    return next((names for names in _SIDES if names[0] in row and names[1] in row), None)


def _recognises(row: Row) -> bool:
    if "preferred_output" in row:
        return False
    if "rejected_response" in row and isinstance(row.get("messages"), list):
        return True
    if _listed(row):
        return True
    names = _sides(row)
    if names is None or not all(isinstance(row[name], (str, list, dict)) for name in names):
        return False
    has_prompt = any(key in row for key in _QUESTIONS) or turns_of(row) is not None
    return has_prompt or isinstance(parsed(row[names[0]]), list) or _is_transcript(row[names[0]])


def _is_transcript(text: Any) -> bool:
    """Whether a text begins as a transcript does; an answer may quote one."""
    return isinstance(text, str) and text.lstrip().startswith(_BEGINNINGS)


def _convert(row: Row) -> list[Row]:
    names = _sides(row)
    if names is not None:
        return [preference_example(row, row[names[0]], row[names[1]])]
    if _listed(row):
        return [preference_example(row, *row["output"])]
    return [preference_example(row, row["messages"][-1:], row["rejected_response"])]


def _rated(row: Row) -> list[Row]:
    """The answers with the best and the worst rating, of those of UltraFeedback."""
    return [_best_and_worst(row, row["completions"], "response", _rating)]


def _generated(row: Row) -> list[Row]:
    """The same of distilabel, which has answers and ratings in two lists."""
    answers = [
        {"response": text, "score": rating} for text, rating in zip(row["generations"], row["ratings"], strict=False)
    ]
    return [_best_and_worst(row, answers, "response", _rating)]


def _ranked(row: Row) -> list[Row]:
    """The answers with the first and the last rank, of those of Nectar."""
    return [_best_and_worst(row, row["answers"], "answer", lambda each: -_number(each.get("rank")))]


def _best_and_worst(row: Row, answers: list[Any], key: str, score: Callable[[Row], float]) -> Row:
    if not all(isinstance(answer, dict) for answer in answers) or len(answers) < 2:
        raise CannotConvert("a preference needs at least two answers with a rating")
    best, worst = max(answers, key=score), min(answers, key=score)
    if score(best) == score(worst):
        raise CannotConvert("all answers have the same rating, so there is nothing to prefer")
    return preference_example(row, best.get(key), worst.get(key))


def _rating(answer: Row) -> float:
    for key in ("overall_score", "fine-grained_score", "score", "rating"):
        if key in answer:
            return _number(answer[key])
    raise CannotConvert("an answer has no `overall_score`")


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise CannotConvert("a rating or rank is not a number") from None


def _numbered(row: Row) -> list[Row]:
    better = row["better_response_id"]
    return [preference_example(row, row[f"response_{better}"], row[f"response_{1 - better}"])]


_RATED = "A preference is made of the answers with the best and the worst rating; the others are not in the examples."

PREFERENCE = register(
    Shape(
        name="preference",
        title="TRL's preference data",
        keys="`prompt`, `chosen` and `rejected`",
        format="preference",
        recognises=_recognises,
        convert=_convert,
        in_tables=_recognises,
        structure=STRUCTURE,
        markers=_MARKERS,
    )
)

ULTRAFEEDBACK = register(
    Shape(
        name="ultrafeedback",
        title="UltraFeedback",
        keys="`instruction` and `completions` with ratings",
        format="preference",
        recognises=lambda row: _of_objects(row, "instruction", "completions", "response"),
        convert=_rated,
        markers=_MARKERS,
        note=_RATED,
    )
)

DISTILABEL = register(
    Shape(
        name="distilabel",
        title="distilabel",
        keys="`instruction`, `generations` and `ratings`",
        format="preference",
        recognises=lambda row: all(isinstance(row.get(key), list) for key in ("generations", "ratings")),
        convert=_generated,
        markers=_MARKERS,
        note=_RATED,
    )
)

NECTAR = register(
    Shape(
        name="nectar",
        title="Nectar",
        keys="`prompt` and `answers` with ranks",
        format="preference",
        recognises=lambda row: _of_objects(row, "prompt", "answers", "rank"),
        convert=_ranked,
        markers=_MARKERS,
        note=_RATED,
    )
)

SAFE_RLHF = register(
    Shape(
        name="safe_rlhf",
        title="PKU-SafeRLHF",
        keys="`prompt`, `response_0`, `response_1` and `better_response_id`",
        format="preference",
        recognises=lambda row: row.get("better_response_id") in (0, 1) and "response_0" in row and "response_1" in row,
        convert=_numbered,
        structure=frozenset({"better_response_id"}),
    )
)


def _of_objects(row: Row, question: str, answers: str, key: str) -> bool:
    found = row.get(answers)
    first = found[0] if isinstance(found, list) and found else None
    return question in row and isinstance(first, dict) and key in first
