"""What tools for annotating share: the text that was annotated, and the labels of several annotators."""

from __future__ import annotations

from collections import Counter
from typing import Any

from service.datasets.shapes.building import example, message, text_part
from service.datasets.shapes.registry import CannotConvert, Row

_QUESTIONS = ("text", "prompt", "question", "instruction", "input", "query", "document", "content", "sentence")
_ANSWERS = ("response", "answer", "completion", "output", "label", "labels", "category", "sentiment", "correction")

MAJORITY = "Of several annotators the majority decides; a row on which they are divided is refused."


def question_of(fields: Row, preferred: str = "") -> str:
    """The text that was annotated: the preferred field, the one with a known name, or the only text.

    Raises `CannotConvert` where several texts could be it."""
    texts = {key: value for key, value in fields.items() if isinstance(value, str) and value.strip()}
    known = [name for name in (preferred, *_QUESTIONS) if name in texts]
    if known:
        return str(texts[known[0]])
    if len(texts) == 1:
        return str(next(iter(texts.values())))
    names = ", ".join(f"`{name[:64]}`" for name in list(texts)[:8])
    raise CannotConvert(f"no text in it is certainly the question ({names or 'there is none'}); rename it to `text`")


def answer_of(answers: dict[str, Any]) -> Any:
    """The answer among the questions that annotators answered: the only one, or the one with a known name."""
    if len(answers) == 1:
        return next(iter(answers.values()))
    known = [name for name in _ANSWERS if name in answers]
    if not known:
        names = ", ".join(f"`{name[:64]}`" for name in list(answers)[:8])
        raise CannotConvert(f"annotators answered several questions ({names}); keep one, or call it `label`")
    return answers[known[0]]


def majority(labels: list[str]) -> str:
    """The label of most annotators. Raises `CannotConvert` where they are divided, or have none."""
    if not labels:
        raise CannotConvert("its annotations have no label")
    (first, votes), *others = Counter(labels).most_common(2)
    if others and others[0][1] == votes:
        raise CannotConvert(f"annotators are divided between {first[:80]!r} and {others[0][0][:80]!r}")
    return first


def answered(question: str, answer: str) -> list[Row]:
    """A chat example of a question and its answer."""
    return example([message("user", [text_part(question)]), message("assistant", [text_part(answer)])])
