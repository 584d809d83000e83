"""Questions and answers under the names of well-known datasets: Dolly, HelpSteer, FLAN and xP3, GSM8K, SQuAD.

Those whose values are texts are read by columns. SQuAD's answers are lists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.datasets.shapes.json_texts import parsed
from service.datasets.shapes.registry import NoText, Row, Shape, register
from service.datasets.shapes.turns import chat_example, plain_text, said, user_text

_OTHER_SHAPES = frozenset(
    {"messages", "history", "rejected_response", "choices", "options", "kto_tag", "instruction", "chosen"}
)
_CONTEXTS = ("context", "passage", "document", "article", "story", "paragraph")


def _squad(row: Row) -> list[Row]:
    answer = plain_text(_first_answer(row))
    if not answer:
        raise NoText("`answers` has no text")
    context = next((row[key] for key in _CONTEXTS if row.get(key)), None)
    question = user_text(context, row.get("question"))
    if not question:
        raise NoText("`question` is empty")
    return [chat_example([said("user", question), said("assistant", answer)], system=row.get("system"))]


def _first_answer(row: Row) -> Any:
    """The first of several answers, which are those of several annotators."""
    found = parsed(row.get("answers", row.get("answer")))
    if isinstance(found, dict):
        found = found.get("text", found.get("value"))
    if isinstance(found, list):
        found = found[0] if found else None
    return _first_answer({"answers": found}) if isinstance(found, (list, dict)) and found else found


def _is_squad(row: Row) -> bool:
    if "messages" in row or "choices" in row or not isinstance(row.get("question"), str):
        return False
    answers = row.get("answers", row.get("answer"))
    found = parsed(answers)
    if isinstance(answers, str) and "answers" not in row:  # an answer that is JSON itself stays a text
        return isinstance(found, dict) and "answer_start" in found
    return isinstance(found, (list, dict))


def _texts(question: str, *answers: str) -> Callable[[Row], bool]:
    def recognises(row: Row) -> bool:
        if (_OTHER_SHAPES - {question}) & row.keys() or not isinstance(row.get(question), str):
            return False
        return any(isinstance(row.get(answer), (str, int, float)) for answer in answers)

    return recognises


SQUAD = register(
    Shape(
        name="squad",
        title="SQuAD",
        keys="`question` and `answers`, with the text in `context`",
        format="chat",
        recognises=_is_squad,
        convert=_squad,
        in_tables=_is_squad,
        structure=frozenset({"answer_start"}),
        note="Of several answers to a question the first is used.",
    )
)

for _name, _title, _keys, _recognises in (
    ("dolly", "Dolly", "`instruction`, `context`, `response`", _texts("instruction", "response")),
    ("helpsteer", "HelpSteer", "`prompt` and `response`", _texts("prompt", "response")),
    ("flan", "FLAN and xP3", "`inputs` and `targets`", _texts("inputs", "targets")),
    ("query_response", "MetaMath", "`query` and `response`", _texts("query", "response")),
    ("input_output", "inputs and outputs", "`input` and `output`", _texts("input", "output")),
    ("user_assistant", "users and assistants", "`user` and `assistant`", _texts("user", "assistant")),
    ("question_answer", "questions and answers", "`question` and `answer`", _texts("question", "answer", "response")),
    ("problem_solution", "problems and solutions", "`problem` and `solution`", _texts("problem", "solution", "answer")),
):
    register(Shape(name=_name, title=_title, keys=_keys, format="chat", recognises=_recognises, by_columns=True))
