"""The four formats of training data, and what every later step needs of a row: its texts, its answer, its identity.

`read_example` turns a decoded row into an `Example` once; tokens, text checks and checks over the whole file read
that and not the row. It takes any row, however broken: what is not of the expected type is stepped over here, and
named by checks. Source of the formats: OpenAI's guides to supervised, direct preference and reinforcement
fine-tuning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from service.datasets.report_schema import Format

CHAT_KEYS = frozenset({"messages", "tools", "functions", "parallel_tool_calls"})
MESSAGE_KEYS = frozenset(
    {"role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "refusal", "audio"}
)
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
PREFERENCE_KEYS = frozenset({"input", "preferred_output", "non_preferred_output"})
COMPLETION_KEYS = frozenset({"prompt", "completion"})

TOKENS_PER_MESSAGE = 3
TOKENS_PER_NAME = 1
TOKENS_PER_EXAMPLE = 3
"""Source: OpenAI cookbook, `num_tokens_from_messages`."""

TOKENS_PER_CALL = 3
"""What frames one call besides its name and arguments; an estimate, of the size that frames a message."""

IMAGE_TOKENS = {"low": 85}
IMAGE_TOKENS_DEFAULT = 765
"""A `low` image is 85 tokens, one of 1024x1024 in high detail 765. Source: OpenAI's guide to images (gpt-4o)."""


class PlainMessage(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A message with nothing but a common role and a string."""

    role: Literal["system", "user", "assistant"]
    content: str


class PlainRow(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A chat row with nothing but plain messages: decoded twice as fast as a row of any shape."""

    messages: list[PlainMessage]


class Piece(msgspec.Struct, frozen=True, gc=False):
    """One text of a row that costs tokens. `plain` texts are those that the cookbook's script counts as well."""

    pointer: str
    role: str
    text: str
    trained: bool
    plain: bool


class Example(msgspec.Struct):
    """One row, read once. `answer` is the last trained text; in a preference row, the preferred one.

    `overhead` is what the format itself costs in tokens, `extra_overhead` the part of it that the cookbook's script
    does not count; `labels` are short strings that cost tokens (roles, names, ids). `has_prompt` says whether a text
    other than the system's stands before the answer. `prompt_key` and `key` are 64-bit hashes of the prompt and of the
    whole, equal for equal content in one process and in those forked from it.
    """

    line: int
    row: dict[str, Any]
    pieces: list[Piece] = []
    labels: list[str] = []
    overhead: int = 0
    extra_overhead: int = 0
    images: int = 0
    definitions: list[Any] | None = None
    countable: bool = True
    system: str | None = None
    answer: str = ""
    answer_pointer: str = ""
    has_prompt: bool = False
    prompt_key: int = 0
    key: int = 0

    @property
    def prompt(self) -> str:
        """The texts before the answer, joined: what a question is compared by."""
        return "\n".join(piece.text for piece in self.pieces if not piece.trained)


def row_format(row: dict[str, Any]) -> Format | None:
    """The format that one row seems to have by its keys, or None where it has the keys of none."""
    if "messages" in row:
        return "reinforcement" if _looks_like_reinforcement(row) else "chat"
    if "preferred_output" in row or "non_preferred_output" in row:
        return "preference"
    if "prompt" in row or "completion" in row:
        return "completion"
    if isinstance(row.get("input"), dict):
        return "preference"
    return None


def file_format(rows: Iterable[dict[str, Any]]) -> Format | None:
    """The format of most of the rows; of several as frequent, the first seen. One odd row does not decide."""
    votes: dict[Format, int] = {}
    for row in rows:
        found = row_format(row)
        if found is not None:
            votes[found] = votes.get(found, 0) + 1
    return max(votes.items(), key=lambda vote: vote[1])[0] if votes else None


def same_format(row: dict[str, Any], expected: Format) -> bool:
    """Whether a row can be read in the file's format. Chat and reinforcement share `messages`, and one may be a
    broken other.
    """
    found = row_format(row)
    if found is None:
        return False
    return found == expected or {found, expected} == {"chat", "reinforcement"}


def read_example(line: int, row: dict[str, Any], format: Format) -> Example:
    """The `Example` of any row of `format`; never raises."""
    example = Example(line, row)
    if format == "completion":
        _read_completion(example)
    elif format == "preference":
        _read_preference(example)
    else:
        _read_messages(example, row.get("messages"), "/messages", trained=format == "chat")
        example.overhead += TOKENS_PER_EXAMPLE
        example.definitions = definitions_of(row)
    _identify(example)
    return example


def read_plain_chat(line: int, row: PlainRow) -> Example | None:
    """The same as `read_example` for the common row on which no check of scope `example` finds anything; else None.

    That row has nothing but `messages`: an optional system message, then user and assistant messages that end with the
    assistant, all with non-blank strings as content and nothing else. The example's `row` is empty.
    """
    messages = row.messages
    if not 2 <= len(messages) <= len(_CONTENT) or messages[-1].role != "assistant":
        return None
    labels: list[str] = [message.role for message in messages]
    texts = [message.content for message in messages]
    if "user" not in labels or "system" in labels[1:]:
        return None
    for text in texts:
        if not text or text.isspace():
            return None
    prompt_key = hash((*labels, *texts[:-1]))
    answer = texts[-1]
    return Example(
        line,
        {},
        [
            Piece(pointer, role, text, role == "assistant", True)
            for pointer, role, text in zip(_CONTENT, labels, texts, strict=False)
        ],
        labels,
        TOKENS_PER_MESSAGE * len(labels) + TOKENS_PER_EXAMPLE,
        system=texts[0] if labels[0] == "system" else None,
        answer=answer,
        answer_pointer=_CONTENT[len(labels) - 1],
        has_prompt=True,
        prompt_key=prompt_key,
        key=hash((prompt_key, answer)),
    )


def messages_of(row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every message of a row that is an object, with its pointer; of a preference row, those of all its three parts."""
    for pointer, messages in message_lists(row):
        for index, message in enumerate(messages):
            if isinstance(message, dict):
                yield f"{pointer}/{index}", message


def message_lists(row: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Every list of messages in a row of any format, with its pointer."""
    if isinstance(row.get("messages"), list):
        yield "/messages", row["messages"]
    prompt = row.get("input")
    if isinstance(prompt, dict) and isinstance(prompt.get("messages"), list):
        yield "/input/messages", prompt["messages"]
    for key in ("preferred_output", "non_preferred_output"):
        if isinstance(row.get(key), list):
            yield f"/{key}", row[key]


def is_trained(message: dict[str, Any]) -> bool:
    """Whether a message is learnt: the assistant's, unless its weight is 0."""
    return message.get("role") == "assistant" and not is_zero(message.get("weight"))


def is_zero(weight: object) -> bool:
    """Whether `weight` is the number 0 (false is not a number here, as it is none in JSON)."""
    return isinstance(weight, (int, float)) and not isinstance(weight, bool) and weight == 0


def text_of(content: object) -> str:
    """The text of a message's content: a string itself, the text parts of a list joined, else nothing."""
    if isinstance(content, str):
        return content
    return "".join(text for _, text, _ in _text_parts(content))


def calls_of(message: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any] | None]]:
    """Every call in a message: its pointer inside the message, its function object, and its tool call if it has one."""
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        for index, call in enumerate(calls):
            if isinstance(call, dict) and isinstance(call.get("function"), dict):
                yield f"/tool_calls/{index}/function", call["function"], call
    older = message.get("function_call")
    if isinstance(older, dict):
        yield "/function_call", older, None


def definitions_of(holder: dict[str, Any]) -> list[Any] | None:
    """The function definitions of a row (or of a preference row's input), from `tools` or older `functions`."""
    tools = holder.get("tools")
    if isinstance(tools, list) and tools:
        return [tool.get("function") if isinstance(tool, dict) else None for tool in tools]
    functions = holder.get("functions")
    return functions if isinstance(functions, list) and functions else None


_CONTENT = tuple(f"/messages/{index}/content" for index in range(64))


def _looks_like_reinforcement(row: dict[str, Any]) -> bool:
    messages = row["messages"]
    last = messages[-1] if isinstance(messages, list) and messages else None
    ends_open = isinstance(last, dict) and last.get("role") in ("user", "developer", "system")
    return ends_open and not row.keys() <= CHAT_KEYS


def _read_completion(example: Example) -> None:
    for key, trained in (("prompt", False), ("completion", True)):
        text = example.row.get(key)
        if isinstance(text, str):
            example.pieces.append(Piece(f"/{key}", "user" if key == "prompt" else "assistant", text, trained, True))


def _read_preference(example: Example) -> None:
    row = example.row
    prompt = row.get("input")
    if isinstance(prompt, dict):
        _read_messages(example, prompt.get("messages"), "/input/messages", trained=False)
        example.definitions = definitions_of(prompt)
    for key in ("preferred_output", "non_preferred_output"):
        _read_messages(example, row.get(key), f"/{key}", trained=True)
    example.overhead += TOKENS_PER_EXAMPLE
    example.countable = False


def _read_messages(example: Example, messages: object, pointer: str, *, trained: bool) -> None:
    if not isinstance(messages, list):
        example.countable = False
        return
    for index, message in enumerate(messages):
        if isinstance(message, dict):
            _read_message(example, message, f"{pointer}/{index}", trained and is_trained(message))
        else:
            example.countable = False


def _read_message(example: Example, message: dict[str, Any], pointer: str, trained: bool) -> None:
    pieces = example.pieces
    named: Any = message.get("role")
    role = named if isinstance(named, str) else ""
    example.overhead += TOKENS_PER_MESSAGE
    for key, value in message.items():
        if isinstance(value, str):
            if key in ("content", "refusal"):
                pieces.append(Piece(f"{pointer}/{key}", role, value, trained, True))
            else:
                example.labels.append(value)
            if key == "name":
                example.overhead += TOKENS_PER_NAME
        else:
            example.countable = False
    content = message.get("content")
    if isinstance(content, list):
        for place, text, detail in _parts(content):
            if detail is None:
                pieces.append(Piece(f"{pointer}/content/{place}", role, text, trained, False))
            else:
                example.images += 1
                example.extra_overhead += IMAGE_TOKENS.get(detail, IMAGE_TOKENS_DEFAULT)
    for place, function, _ in calls_of(message):
        example.extra_overhead += TOKENS_PER_CALL
        for key in ("name", "arguments"):
            value = function.get(key)
            if isinstance(value, str):
                pieces.append(Piece(f"{pointer}{place}/{key}", role, value, trained, False))
    if role in ("system", "developer") and example.system is None:
        example.system = text_of(content)


def _text_parts(content: object) -> Iterator[tuple[str, str, str | None]]:
    return (part for part in _parts(content) if part[2] is None)


def _parts(content: object) -> Iterator[tuple[str, str, str | None]]:
    """Text parts as (place, text, None), images as (place, "", detail)."""
    if not isinstance(content, list):
        return
    for index, part in enumerate(content):
        if not isinstance(part, dict):
            continue
        for key in ("text", "refusal"):
            if isinstance(part.get(key), str):
                yield f"{index}/{key}", part[key], None
        image = part.get("image_url")
        if part.get("type") == "image_url" or isinstance(image, dict):
            detail = image.get("detail") if isinstance(image, dict) else None
            yield f"{index}/image_url", "", detail if isinstance(detail, str) else "auto"


def _identify(example: Example) -> None:
    """Sets the answer and the keys of a row of any shape; equal JSON has equal keys, in any order of names."""
    pieces = example.pieces
    answers = [piece for piece in pieces if piece.trained]
    answer = answers[0 if "preferred_output" in example.row else -1] if answers else None
    if answer is not None:
        example.answer = answer.text
        example.answer_pointer = answer.pointer
    example.has_prompt = any(piece.text and piece.role != "system" for piece in pieces if not piece.trained)
    example.key = hash(_canonical(example.row))
    if example.images:
        example.prompt_key = example.key
        return
    prompt = [(piece.role, piece.text) for piece in pieces if not piece.trained]
    if answer is not None and answer is pieces[-1]:
        prompt = [(piece.role, piece.text) for piece in pieces[:-1]]
    example.prompt_key = hash((tuple(prompt), _canonical(example.definitions)))


def _canonical(value: object) -> bytes | str:
    try:
        return msgspec.json.encode(value, order="sorted")
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return repr(value)
