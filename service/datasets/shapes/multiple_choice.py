"""Multiple choice: a question, choices as a list or in columns, and the answer as a letter, a number or a text.

The choices become lettered lines below the question, and the answer its letter and text. Sources: MMLU, ARC,
CommonsenseQA, OpenBookQA, HellaSwag, RACE, MedQA and MedMCQA, PIQA, SocialIQA, WinoGrande, AQuA, SciQ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from service.datasets.shapes.json_texts import parsed
from service.datasets.shapes.registry import CannotConvert, NoText, Row, Shape, register
from service.datasets.shapes.turns import chat_example, plain_text, said, user_text

_QUESTIONS = (
    "question", "questionstem", "stem", "query", "problem", "sentence", "ctx", "goal", "prompt", "text", "premise",
    "问题", "题目",
)  # fmt: skip
_CONTEXTS = ("context", "passage", "article", "support", "fact1", "premise")
_LISTS = ("choices", "options", "endings", "candidates", "选项")
_ANSWERS = (
    "answerkey", "answer", "correctanswer", "correct", "correctoption", "correctchoice", "answeridx", "answerindex",
    "correctidx", "correctindex", "label", "gold", "cop", "target", "答案",
)  # fmt: skip
_COLUMN = re.compile(r"(?:option|choice|opt|op|answer|ans|ending|sol|选项)([a-j]|\d)|([a-j])")
_LETTER = re.compile(r"\(?([A-Za-z])\)?[.):]?")
_OWN_LETTER = re.compile(r"\(?([A-Za-z])[.):]+\s*")
_NUMBER = re.compile(r"-?\d+(?:\.0)?")
_OTHER_SHAPES = frozenset({"messages", "completion", "_input_hash"})
_MAX_CHOICES = len(ascii_uppercase)


class _Item(NamedTuple):
    """A question with its choices. `labels` are the names of the choices, letters unless the row names them."""

    question: str
    choices: list[str]
    labels: list[str]
    answers: list[Any]


def _item(row: Row) -> _Item | None:
    """What a row asks; None if it is no multiple choice."""
    if _OTHER_SHAPES & row.keys():
        return None
    names = {_plain(name): name for name in reversed(row)}
    given = [row[names[name]] for name in _ANSWERS if name in names and row[names[name]] not in (None, "")]
    question, inner = _question(row, names)
    lists = (inner, *(row.get(names.get(name, "")) for name in _LISTS))
    found = next(filter(None, map(_of_list, lists)), None)
    if found is None:
        found = _of_columns(row, letters="question" in names or "问题" in names) or _of_distractors(row, names)
    if not question or found is None or not any(name in names for name in _ANSWERS):
        return None
    choices, labels = found
    return _Item(question, _without_own_letters(choices), labels, given)


def _question(row: Row, names: dict[str, str]) -> tuple[str, Any]:
    """The question with its context, and choices that are inside the question (CommonsenseQA's first release)."""
    key = next((names[key] for key in _QUESTIONS if row.get(names.get(key, "")) not in (None, "")), None)
    if key is None:
        return "", None
    question: Any = parsed(row[key])
    inner = None
    if isinstance(question, dict):
        question, inner = question.get("stem"), question.get("choices")
    given = [names[name] for name in _CONTEXTS if name in names and names[name] != key and row[names[name]]]
    context = row[given[0]] if given else None
    if not isinstance(question, str) or isinstance(context, (list, dict)):
        return "", None
    return user_text(context, question), inner


def _of_list(value: Any) -> tuple[list[str], list[str]] | None:
    found = parsed(value)
    labels: list[Any] = list(ascii_uppercase)
    if isinstance(found, dict) and isinstance(found.get("text"), list):
        found, labels = found["text"], found.get("label") or labels
    elif isinstance(found, dict):
        labels, found = list(found), list(found.values())
    elif isinstance(found, list) and found and all(isinstance(each, dict) and "text" in each for each in found):
        labels = [each.get("label", letter) for each, letter in zip(found, ascii_uppercase, strict=False)]
        found = [each["text"] for each in found]
    if not isinstance(found, list) or not 2 <= len(found) <= min(_MAX_CHOICES, len(labels)):
        return None
    if not all(isinstance(each, (str, int, float)) for each in found):
        return None
    return [plain_text(each) for each in found], [str(label) for label in labels[: len(found)]]


def _of_columns(row: Row, *, letters: bool) -> tuple[list[str], list[str]] | None:
    """The choices in columns such as `option_a`; with `letters` also in `A`, which has other meanings elsewhere."""
    places: dict[str, Any] = {}
    for name, value in row.items():
        found = _COLUMN.fullmatch(_plain(name))
        if found and (letters or found[1]) and isinstance(value, (str, int, float)):
            places[found[1] or found[2]] = value
    for first in ("a", "0", "1"):
        keys: list[str] = []
        while (key := chr(ord(first) + len(keys))) in places:
            keys.append(key)
        choices = [plain_text(places[key]) for key in keys]
        while choices and not choices[-1]:
            choices.pop()
        if len(choices) > 1:
            return choices, list(ascii_uppercase[: len(choices)])
    return None


def _of_distractors(row: Row, names: dict[str, str]) -> tuple[list[str], list[str]] | None:
    """SciQ's correct answer and its distractors, in alphabetical order, so that the place does not tell the answer."""
    others = [row[names[name]] for name in names if re.fullmatch(r"distractor\d?", name) and row[names[name]]]
    correct = row.get(names.get("correctanswer", ""))
    if not others or not isinstance(correct, str):
        return None
    choices = sorted([correct.strip(), *map(plain_text, others)])
    return choices, list(ascii_uppercase[: len(choices)])


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _without_own_letters(choices: list[str]) -> list[str]:
    found = [_OWN_LETTER.match(choice) for choice in choices]
    letters = [each[1].upper() if each else "" for each in found]
    if letters != list(ascii_uppercase[: len(choices)]):
        return choices
    return [choice[each.end() :] if each else choice for choice, each in zip(choices, found, strict=True)]


def _named(item: _Item, answer: Any) -> int | None:
    """The place of an answer that is a label, a letter or the text of a choice; None for a number."""
    if isinstance(answer, bool) or not isinstance(answer, (str, int, float)):
        raise CannotConvert("the answer must be a letter, a number or the text of a choice")
    text = plain_text(answer)
    named = item.labels != list(ascii_uppercase[: len(item.labels)])
    if named and text in item.labels:
        return item.labels.index(text)
    if isinstance(answer, str) and item.choices.count(text) == 1:
        return item.choices.index(text)
    own = _OWN_LETTER.match(text)
    if own and item.choices.count(text[own.end() :]) == 1:
        return item.choices.index(text[own.end() :])
    letter = _LETTER.fullmatch(text)
    if letter and letter[1].upper() in ascii_uppercase[: len(item.choices)]:
        return ascii_uppercase.index(letter[1].upper())
    column = _COLUMN.fullmatch(_plain(text))
    if column and column[1] and column[1].upper() in ascii_uppercase[: len(item.choices)]:
        return ascii_uppercase.index(column[1].upper())
    if _NUMBER.fullmatch(text):
        return None
    raise CannotConvert(f"the answer {text[:60]!r} is none of the {len(item.choices)} choices")


def _answer(item: _Item, base: int | None) -> int:
    if not item.answers:
        raise NoText("the row has no answer")
    answer = item.answers[0]
    place = _named(item, answer)
    if place is not None:
        return place
    number = int(float(plain_text(answer)))
    if number < 0:
        raise NoText("the row has no answer")
    if base is None:
        raise CannotConvert(f"the answer {number} is a number, and those of other rows are not; {_CHOOSE}")
    if not base <= number < base + len(item.choices):
        raise CannotConvert(
            f"the answer {number} is none of {len(item.choices)} choices counted from {base}; {_CHOOSE}"
        )
    return number - base


def _converter(base: int | None) -> Callable[[Row], list[Row]]:
    def convert(row: Row) -> list[Row]:
        item = _item(row)
        if item is None:
            raise CannotConvert("the row needs a question, at least two choices and an answer")
        place = _answer(item, base)
        lines = [f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, item.choices, strict=False)]
        question = "\n".join(lines)
        return [chat_example([said("user", f"{item.question}\n\n{question}"), said("assistant", lines[place])])]

    return convert


def _resolve(rows: Sequence[Row]) -> str:
    """Whether numbers count from 0 or from 1: 0 is an answer, or the number of choices is."""
    numbers: set[int] = set()
    last = False
    for row in rows:
        item = _item(row)
        if item is None or not item.answers:
            continue
        try:
            if _named(item, item.answers[0]) is None:
                numbers.add(number := int(float(plain_text(item.answers[0]))))
                last = last or number == len(item.choices)
        except CannotConvert:
            continue
    if not numbers - {-1}:
        return "multiple_choice"
    if 0 in numbers and last:
        raise CannotConvert(f"The answers are numbers, of which some count from 0 and some from 1; {_CHOOSE}")
    if 0 in numbers:
        return "multiple_choice_from_0"
    if last:
        return "multiple_choice_from_1"
    shown = ", ".join(map(str, sorted(numbers - {-1})[:5]))
    raise CannotConvert(
        f"The answers are numbers ({shown}), and whether the first choice is 0 or 1 is unknown; {_CHOOSE}"
    )


def _recognises(row: Row) -> bool:
    return _item(row) is not None


_CHOOSE = "set the option `shape` to multiple_choice_from_0 or multiple_choice_from_1"
_NOTE = "The choices are lettered lines in the question, and the answer is its letter and text."

MULTIPLE_CHOICE = register(
    Shape(
        name="multiple_choice",
        title="multiple choice",
        keys="a question, its choices and the answer",
        format="chat",
        recognises=_recognises,
        convert=_converter(None),
        in_tables=_recognises,
        resolve=_resolve,
        note=_NOTE,
        structure=frozenset({*_ANSWERS, "answer_idx", "answer_index", "answer_key", "correct_option", "correct_idx"}),
        markers=_OWN_LETTER,
    )
)

for _base in (0, 1):
    register(
        Shape(
            name=f"multiple_choice_from_{_base}",
            title="multiple choice",
            keys=f"a question, its choices and the number of the answer, counted from {_base}",
            format="chat",
            recognises=_recognises,
            convert=_converter(_base),
            in_tables=_recognises,
            only_by_name=True,
            note=f"{_NOTE} Numbers of answers were counted from {_base}. If they count from {1 - _base}, set the "
            f"option `shape` to multiple_choice_from_{1 - _base}.",
            structure=MULTIPLE_CHOICE.structure,
            markers=_OWN_LETTER,
        )
    )
