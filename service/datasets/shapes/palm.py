"""PaLM, Gemini's predecessor: `input_text` and `output_text`, or `messages` with `author` and a `context`.

Source of the shape: Vertex AI's guides to tuning text-bison and chat-bison, and Google AI Studio's (`text_input`,
`output`).
"""

from __future__ import annotations

from service.datasets.shapes.building import any_object, example, message, objects, text_in, text_part
from service.datasets.shapes.registry import Row, Shape, register

_PAIRS = (("input_text", "output_text"), ("text_input", "output"))


def _recognises_pair(row: Row) -> bool:
    return any(isinstance(row.get(name), str) for name, other in _PAIRS if other in row)


def _convert_pair(row: Row) -> list[Row]:
    input_name, output_name = next(pair for pair in _PAIRS if pair[0] in row and pair[1] in row)
    texts = (("user", input_name), ("assistant", output_name))
    return example(message(role, [text_part(text_in(row[name], name))]) for role, name in texts)


def _recognises_chat(row: Row) -> bool:
    first = any_object(row.get("messages"))[:1]
    return bool(first) and "author" in first[0] and "content" in first[0] and "role" not in first[0]


def _convert_chat(row: Row) -> list[Row]:
    """The author of the first message is the user; every other author is the assistant."""
    turns = objects(row.get("messages"), "messages")
    context = row.get("context")
    made = [message("system", [text_part(context)])] if isinstance(context, str) and context else []
    for turn in turns:
        role = "user" if turn.get("author") == turns[0].get("author") else "assistant"
        made.append(message(role, [text_part(text_in(turn.get("content"), "content"))]))
    return example(made)


PALM = register(
    Shape(
        name="palm",
        title="PaLM",
        keys="`input_text` and `output_text`",
        format="chat",
        recognises=_recognises_pair,
        convert=_convert_pair,
    )
)

PALM_CHAT = register(
    Shape(
        name="palm_chat",
        title="PaLM chat",
        keys="`messages` with `author` and `content`",
        format="chat",
        recognises=_recognises_chat,
        convert=_convert_chat,
        structure=frozenset({"author"}),
    )
)
