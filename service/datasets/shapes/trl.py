"""TRL's other types of data: conversational prompts with completions, prompts alone, unpaired and stepwise labels.

Source: TRL's documentation of dataset formats and types. Prompts with more columns are those of its reward functions,
and of veRL.
"""

from __future__ import annotations

from typing import Any

from service.datasets.shapes.images import with_images
from service.datasets.shapes.json_texts import parsed
from service.datasets.shapes.registry import CannotConvert, Row, Shape, register
from service.datasets.shapes.turns import STRUCTURE, chat_example, is_turn, messages_of, tools_of


def _are_messages(value: Any) -> bool:
    turns = parsed(value)
    return isinstance(turns, list) and bool(turns) and is_turn(turns[0])


def _is_conversational(row: Row) -> bool:
    return "messages" not in row and _are_messages(row.get("prompt")) and _are_messages(row.get("completion"))


def _conversational(row: Row) -> list[Row]:
    """The messages of both. The answers in the prompt have weight 0: TRL trains the completion alone."""
    prompt = [
        {**message, "weight": 0} if message["role"] == "assistant" else message
        for message in with_images(row, messages_of(parsed(row["prompt"])))
    ]
    return [chat_example([*prompt, *messages_of(parsed(row["completion"]))], tools=row.get("tools"))]


def _is_prompts(row: Row) -> bool:
    answers = ("messages", "completion", "completions", "chosen", "rejected", "answers", "response")
    if isinstance(row.get("prompt"), str) and not _are_messages(row["prompt"]):
        return row.keys() == {"prompt"} and bool(row["prompt"].strip())
    return _are_messages(row.get("prompt")) and not any(key in row for key in answers)


def _prompts(row: Row) -> list[Row]:
    text = isinstance(row["prompt"], str) and not _are_messages(row["prompt"])
    messages = [{"role": "user", "content": row["prompt"]}] if text else messages_of(parsed(row["prompt"]))
    if messages[-1]["role"] == "assistant":
        raise CannotConvert("the prompt ends with an answer; a reinforcement example ends with a question")
    made = {"messages": messages, **{key: value for key, value in row.items() if key not in ("prompt", "tools")}}
    if tools := tools_of(row.get("tools")):
        made["tools"] = tools
    return [made]


def _is_unpaired(row: Row) -> bool:
    if "kto_tag" in row:
        return True
    return isinstance(row.get("label"), bool) and "prompt" in row and "completion" in row


def _is_unpaired_table(row: Row) -> bool:
    label = row.get("label")
    is_bool = isinstance(label, str) and label.strip().lower() in ("true", "false")
    return "kto_tag" in row or (is_bool and "prompt" in row and "completion" in row)


def _is_stepwise(row: Row) -> bool:
    return "prompt" in row and isinstance(row.get("completions"), list) and isinstance(row.get("labels"), list)


CONVERSATIONAL = register(
    Shape(
        name="prompt_completion_messages",
        title="TRL's conversational prompts and completions",
        keys="lists of messages in `prompt` and `completion`",
        format="chat",
        recognises=_is_conversational,
        convert=_conversational,
        in_tables=_is_conversational,
        structure=STRUCTURE,
        note="Answers in `prompt` have weight 0: the completion alone is trained, as TRL does.",
    )
)

PROMPTS = register(
    Shape(
        name="prompts",
        title="TRL's prompts without answers",
        keys="a list of messages in `prompt`, or a text in `prompt` alone",
        format="reinforcement",
        recognises=_is_prompts,
        convert=_prompts,
        structure=STRUCTURE,
    )
)

UNPAIRED = register(
    Shape(
        name="unpaired_preference",
        title="unpaired preferences (KTO)",
        keys="one answer and `label` or `kto_tag`",
        format=None,
        recognises=_is_unpaired,
        in_tables=_is_unpaired_table,
        advice="A preference example needs a good and a bad answer to the same prompt: write both in one row, as "
        "`prompt`, `chosen` and `rejected`. Or remove the rows whose answer is bad, and the label, and train "
        "the others as chat.",
    )
)

STEPWISE = register(
    Shape(
        name="stepwise",
        title="stepwise supervision",
        keys="`prompt`, `completions` and `labels`, one for each step",
        format=None,
        recognises=_is_stepwise,
        advice="No upstream trains on labels of single steps. Join the steps of a row to one `completion` where all "
        "labels are true, and leave the other rows out; or write both as `prompt`, `chosen` and `rejected`.",
    )
)
