"""The four formats of training data, and what every later step needs of a row: its texts, its answer, its identity.

`read_example` turns a decoded row into an `Example` once; tokens, text checks and checks over the whole file read
that and not the row. It takes any row, however broken: what is not of the expected type is stepped over here, and
named by checks. Source of the formats: OpenAI's guides to supervised, direct preference and reinforcement
fine-tuning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from service.datasets.report_schema import Format

CHAT_KEYS = frozenset({"messages", "tools", "functions", "parallel_tool_calls"})
MESSAGE_KEYS = frozenset(
    {"role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "refusal", "audio"}
)
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
PREFERENCE_KEYS = frozenset({"input", "preferred_output", "non_preferred_output"})
COMPLETION_KEYS = frozenset({"prompt", "completion"})
PARTS = "[parts]"

TOKENS_PER_MESSAGE = 3
TOKENS_PER_NAME = 1
TOKENS_PER_EXAMPLE = 3
"""Source: OpenAI cookbook, `num_tokens_from_messages`."""

TOKENS_PER_CALL = 3
"""What frames one call besides its name and arguments; an estimate, of the size that frames a message."""

IMAGE_TOKENS = {"low": 85}
IMAGE_TOKENS_DEFAULT = 765
"""A `low` image is 85 tokens, one of 1024x1024 in high detail 765. Source: OpenAI's guide to images (gpt-4o)."""


class Piece(msgspec.Struct, frozen=True, gc=False):
    """One text of a row that costs tokens. `plain` texts are those that the cookbook's script counts as well."""

    pointer: str
    role: str
    text: str
    trained: bool
    plain: bool


class Layout(msgspec.Struct, frozen=True, gc=False):
    """All that is to be known of the texts of a row but the texts: where each stands and whose it is.

    `trained` and `extra` are places among the texts: of those that are learnt, and of those that the cookbook's script
    does not count. `labels` are short strings that cost tokens too (roles, names, ids). Rows of one shape share one.
    """

    pointers: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    trained: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()


class Example(msgspec.Struct, gc=False):
    """One row, read once. `answer` is the last trained text; in a preference row, the preferred one.

    `overhead` is what the format itself costs in tokens, `extra_overhead` the part of it that the cookbook's script
    does not count. `has_prompt` says whether a text other than the system's stands before the answer. `prompt_key` and
    `key` are 64-bit hashes of the prompt and of the whole, equal for equal content in one process and in those forked
    from it.
    """

    line: int
    row: dict[str, Any]
    texts: list[str] = []
    layout: Layout = Layout()
    overhead: int = 0
    extra_overhead: int = 0
    images: int = 0
    definitions: list[Any] | None = None
    cookbook_countable: bool = True
    system: str | None = None
    answer: str = ""
    answer_pointer: str = ""
    has_prompt: bool = False
    prompt_key: int = 0
    key: int = 0

    @property
    def pieces(self) -> list[Piece]:
        """The texts, each with what is known of it."""
        layout = self.layout
        return [
            Piece(pointer, role, text, at in layout.trained, at not in layout.extra)
            for at, (pointer, role, text) in enumerate(zip(layout.pointers, layout.roles, self.texts, strict=True))
        ]

    @property
    def labels(self) -> list[str]:
        """The short strings that cost tokens besides the texts."""
        return list(self.layout.labels)

    @property
    def prompt(self) -> str:
        """The texts before the answer, joined: what a question is compared by."""
        trained = self.layout.trained
        return "\n".join(text for at, text in enumerate(self.texts) if at not in trained)


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
    reading = _ExampleBuilder(example)
    if format == "completion":
        reading.completion()
    elif format == "preference":
        reading.preference()
    else:
        reading.messages(row.get("messages"), "/messages", trained=format == "chat")
        example.overhead += TOKENS_PER_EXAMPLE
        example.definitions = definitions_of(row)
    reading.finish()
    return example


def messages_of(row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every message of a row that is an object, with its pointer; of a preference row, those of all its three parts."""
    for pointer, messages in message_lists(row):
        for index, message in enumerate(messages):
            if isinstance(message, dict):
                yield f"{pointer}/{index}", message


def traits(row: dict[str, Any]) -> set[str]:
    """What checks of rows can depend on: the keys of a row, of its input and of its messages, their roles, and PARTS
    where any content is a list.
    """
    found = set(row)
    prompt = row.get("input")
    if isinstance(prompt, dict):
        found.update(prompt)
    for _, message in messages_of(row):
        found.update(message)
        role = message.get("role")
        if isinstance(role, str):
            found.add(role)
        if isinstance(message.get("content"), list):
            found.add(PARTS)
    return found


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


def _looks_like_reinforcement(row: dict[str, Any]) -> bool:
    messages = row["messages"]
    last = messages[-1] if isinstance(messages, list) and messages else None
    ends_open = isinstance(last, dict) and last.get("role") in ("user", "developer", "system")
    return ends_open and not row.keys() <= CHAT_KEYS


class _ExampleBuilder:
    """The texts of one row as they are found; at the end its example has them."""

    def __init__(self, example: Example) -> None:
        self._example = example
        self._pieces: list[Piece] = []
        self._labels: list[str] = []

    def completion(self) -> None:
        for key, role in (("prompt", "user"), ("completion", "assistant")):
            text = self._example.row.get(key)
            if isinstance(text, str):
                self._pieces.append(Piece(f"/{key}", role, text, key == "completion", True))

    def preference(self) -> None:
        example, row = self._example, self._example.row
        prompt = row.get("input")
        if isinstance(prompt, dict):
            self.messages(prompt.get("messages"), "/input/messages", trained=False)
            example.definitions = definitions_of(prompt)
        for key in ("preferred_output", "non_preferred_output"):
            self.messages(row.get(key), f"/{key}", trained=True)
        example.overhead += TOKENS_PER_EXAMPLE
        example.cookbook_countable = False

    def messages(self, messages: object, pointer: str, *, trained: bool) -> None:
        if not isinstance(messages, list):
            self._example.cookbook_countable = False
            return
        for index, message in enumerate(messages):
            if isinstance(message, dict):
                self._message(message, f"{pointer}/{index}", trained and is_trained(message))
            else:
                self._example.cookbook_countable = False

    def finish(self) -> None:
        example, pieces = self._example, self._pieces
        example.texts = [piece.text for piece in pieces]
        example.layout = Layout(
            tuple([piece.pointer for piece in pieces]),
            tuple([piece.role for piece in pieces]),
            tuple([at for at, piece in enumerate(pieces) if piece.trained]),
            tuple([at for at, piece in enumerate(pieces) if not piece.plain]),
            tuple(self._labels),
        )
        _identify(example, pieces)

    def _message(self, message: dict[str, Any], pointer: str, trained: bool) -> None:
        example, pieces = self._example, self._pieces
        named: Any = message.get("role")
        role = named if isinstance(named, str) else ""
        example.overhead += TOKENS_PER_MESSAGE
        for key, value in message.items():
            if isinstance(value, str):
                if key in ("content", "refusal"):
                    pieces.append(Piece(f"{pointer}/{key}", role, value, trained, True))
                else:
                    self._labels.append(value)
                if key == "name":
                    example.overhead += TOKENS_PER_NAME
            else:
                example.cookbook_countable = False
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


def _identify(example: Example, pieces: list[Piece]) -> None:
    """Sets the answer and the keys of a row of any shape; equal JSON has equal keys, in any order of names."""
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
