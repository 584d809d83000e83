"""The four formats of training data, and the reading of a row to an `Example`: its texts, answer and hashes.

`read_example` reads a decoded row once; token counts, text checks and checks of the whole file use the `Example` and
not the row. It accepts any row: values of an unexpected type are skipped here and reported by checks. Source of the
formats: OpenAI's guides to supervised, direct preference and reinforcement fine-tuning.
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
MAX_TOOLS = 128
"""The functions that one example may define."""

NON_PREFERRED = "/non_preferred_output/"
"""The pointers of texts that a model learns to avoid begin with this: what is wrong with them is right."""

TOKENS_PER_MESSAGE = 3
TOKENS_PER_NAME = 1
TOKENS_PER_EXAMPLE = 3
"""Source: OpenAI cookbook, `num_tokens_from_messages`."""

TOKENS_PER_CALL = 3
"""The tokens that frame one call, besides its name and arguments: an estimate, the same as for a message."""

IMAGE_TOKENS = {"low": 85}
IMAGE_TOKENS_DEFAULT = 765
"""An image in low detail has 85 tokens, one of 1024x1024 in high detail 765. Source: OpenAI's guide to images (gpt-4o).
"""


class Piece(msgspec.Struct, frozen=True, gc=False):
    """One text of a row that costs tokens. `in_cookbook` says whether the cookbook's script counts it too."""

    pointer: str
    role: str
    text: str
    trained: bool
    in_cookbook: bool


class Layout(msgspec.Struct, frozen=True, gc=False):
    """The positions and roles of a row's texts, without the texts. Rows with the same structure can share a layout.

    `pointers` and `roles` have one entry for each text. `trained` holds the indexes of the texts that are trained,
    `answers` those of them that the model learns to generate, not to avoid, and `extra` the indexes of those that the
    cookbook's script does not count. `labels` are short strings that cost tokens too (roles, names, ids).
    """

    pointers: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    trained: tuple[int, ...] = ()
    answers: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()


class Example(msgspec.Struct, gc=False):
    """A row that has been read. `answer` is its last trained text; in a preference row, the preferred one.

    `overhead` and `extra_overhead` are tokens of the format itself: those that the cookbook's script counts, and those
    that it does not. `cookbook_countable` is False if the script would fail on the row. `has_prompt` says whether there
    is a text before the answer other than the system prompt. `prompt_key` and `key` are 64-bit hashes of the prompt and
    of the whole row; they can be compared within one process and the processes forked from it.
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
        """The texts, each with its pointer, role and flags."""
        layout = self.layout
        return [
            Piece(pointer, role, text, at in layout.trained, at not in layout.extra)
            for at, (pointer, role, text) in enumerate(zip(layout.pointers, layout.roles, self.texts, strict=True))
        ]

    @property
    def labels(self) -> list[str]:
        """The short strings that cost tokens in addition to the texts."""
        return list(self.layout.labels)

    @property
    def prompt(self) -> str:
        """All texts that are not trained, joined by line breaks."""
        trained = self.layout.trained
        return "\n".join(text for at, text in enumerate(self.texts) if at not in trained)


def row_format(row: dict[str, Any]) -> Format | None:
    """The format of a row, by its keys; None if it has the keys of no format."""
    if "messages" in row:
        return "reinforcement" if _looks_like_reinforcement(row) else "chat"
    if "preferred_output" in row or "non_preferred_output" in row:
        return "preference"
    if "prompt" in row or "completion" in row:
        return "completion"
    if isinstance(row.get("input"), dict):
        return "preference"
    return None


class FormatVotes:
    """Counts the formats of a file's rows. `count` is the number of rows that have one.

    A row that ends with a question and has no answer is a prompt for reinforcement, or a chat row that is not complete.
    Such rows are prompts if there are more of them than of chat rows with an answer.
    """

    def __init__(self) -> None:
        self.count = 0
        self._votes: dict[Format, int] = {}
        self._prompts = 0

    def add(self, row: dict[str, Any]) -> None:
        """Counts one row."""
        found = row_format(row)
        if found is not None:
            self.count += 1
            self._votes[found] = self._votes.get(found, 0) + 1
            self._prompts += found == "chat" and _is_only_a_prompt(row)

    def winner(self) -> tuple[Format, int] | None:
        """The most frequent format (the first of equal ones) with its number of rows; None if no row has a format."""
        votes = dict(self._votes)
        if self._prompts * 2 > votes.get("chat", 0):
            votes["reinforcement"] = votes.get("reinforcement", 0) + self._prompts
            votes["chat"] -= self._prompts
        return max(votes.items(), key=lambda vote: vote[1]) if votes else None


def file_format(rows: Iterable[dict[str, Any]]) -> Format | None:
    """The format of a file with these rows, or None if no row has a format."""
    votes = FormatVotes()
    for row in rows:
        votes.add(row)
    winner = votes.winner()
    return winner[0] if winner is not None else None


def same_format(row: dict[str, Any], expected: Format) -> bool:
    """Whether a row can be read in the file's format.

    Chat and reinforcement rows are read as each other: both have `messages`, and checks find what is wrong.
    """
    found = row_format(row)
    if found is None:
        return False
    return found == expected or {found, expected} == {"chat", "reinforcement"}


def read_example(line: int, row: dict[str, Any], format: Format) -> Example:
    """Reads a row as an example of `format`. Never raises."""
    example = Example(line, row)
    builder = _ExampleBuilder(example)
    if format == "completion":
        builder.add_completion()
    elif format == "preference":
        builder.add_preference()
    else:
        builder.add_messages(row.get("messages"), "/messages", trained=format == "chat")
        example.overhead += TOKENS_PER_EXAMPLE
        example.definitions = definitions_of(row)
    builder.finish()
    return example


def messages_of(row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every message of a row that is an object, with its pointer; in a preference row, those of all three parts."""
    for pointer, messages in message_lists(row):
        for index, message in enumerate(messages):
            if isinstance(message, dict):
                yield f"{pointer}/{index}", message


def traits(row: dict[str, Any]) -> set[str]:
    """What decides which row checks must run: the keys of the row, of its input and of its messages, and the roles.

    Includes PARTS if the content of any message is a list.
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
    """Whether a message is trained: it is the assistant's, and its weight is not 0."""
    return message.get("role") == "assistant" and not is_zero(message.get("weight"))


def is_zero(weight: object) -> bool:
    """Whether `weight` is the number 0. False is not a number here, as in JSON."""
    return isinstance(weight, (int, float)) and not isinstance(weight, bool) and weight == 0


def text_of(content: object) -> str:
    """The text of a message's content: the string, or the text parts of a list joined; "" for anything else."""
    if isinstance(content, str):
        return content
    return "".join(text for _, text, _ in _text_parts(content))


def calls_of(message: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any] | None]]:
    """Every call in a message: its pointer in the message, its function object, and its tool call object or None.

    The older `function_call` has no tool call object.
    """
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        for index, call in enumerate(calls):
            if isinstance(call, dict) and isinstance(call.get("function"), dict):
                yield f"/tool_calls/{index}/function", call["function"], call
    older = message.get("function_call")
    if isinstance(older, dict):
        yield "/function_call", older, None


def definitions_of(holder: dict[str, Any]) -> list[Any] | None:
    """The function definitions of a row (or of a preference row's input), from `tools` or the older `functions`.

    None stands for a tool without a definition; the result is None if there are no definitions.
    """
    tools = holder.get("tools")
    if isinstance(tools, list) and tools:
        return [tool.get("function") if isinstance(tool, dict) else None for tool in tools]
    functions = holder.get("functions")
    return functions if isinstance(functions, list) and functions else None


def _is_only_a_prompt(row: dict[str, Any]) -> bool:
    """Whether a row's messages end with a question, and none of them is an answer."""
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        return False
    roles = [message.get("role") if isinstance(message, dict) else None for message in messages]
    return roles[-1] in ("user", "developer") and "assistant" not in roles and all(role in ROLES for role in roles)


def _looks_like_reinforcement(row: dict[str, Any]) -> bool:
    messages = row["messages"]
    last = messages[-1] if isinstance(messages, list) and messages else None
    ends_open = isinstance(last, dict) and last.get("role") in ("user", "developer", "system")
    return ends_open and not row.keys() <= CHAT_KEYS


class _ExampleBuilder:
    """Collects the texts and labels of a row; `finish` sets them on the example."""

    def __init__(self, example: Example) -> None:
        self._example = example
        self._pieces: list[Piece] = []
        self._labels: list[str] = []

    def add_completion(self) -> None:
        for key, role in (("prompt", "user"), ("completion", "assistant")):
            text = self._example.row.get(key)
            if isinstance(text, str):
                self._pieces.append(Piece(f"/{key}", role, text, key == "completion", True))

    def add_preference(self) -> None:
        example, row = self._example, self._example.row
        prompt = row.get("input")
        if isinstance(prompt, dict):
            self.add_messages(prompt.get("messages"), "/input/messages", trained=False)
            example.definitions = definitions_of(prompt)
        for key in ("preferred_output", "non_preferred_output"):
            self.add_messages(row.get(key), f"/{key}", trained=True)
        example.overhead += TOKENS_PER_EXAMPLE
        example.cookbook_countable = False

    def add_messages(self, messages: object, pointer: str, *, trained: bool) -> None:
        if not isinstance(messages, list):
            self._example.cookbook_countable = False
            return
        for index, message in enumerate(messages):
            if isinstance(message, dict):
                self._add_message(message, f"{pointer}/{index}", trained and is_trained(message))
            else:
                self._example.cookbook_countable = False

    def finish(self) -> None:
        example, pieces = self._example, self._pieces
        example.texts = [piece.text for piece in pieces]
        example.layout = Layout(
            tuple([piece.pointer for piece in pieces]),
            tuple([piece.role for piece in pieces]),
            tuple([at for at, piece in enumerate(pieces) if piece.trained]),
            tuple([at for at, piece in enumerate(pieces) if piece.trained and not _is_avoided(piece)]),
            tuple([at for at, piece in enumerate(pieces) if not piece.in_cookbook]),
            tuple(self._labels),
        )
        _set_answer_and_keys(example, pieces)

    def _add_message(self, message: dict[str, Any], pointer: str, trained: bool) -> None:
        example, pieces = self._example, self._pieces
        given_role: Any = message.get("role")
        role = given_role if isinstance(given_role, str) else ""
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
    """The parts of a content: texts as (pointer in the content, text, None), images as (pointer, "", detail)."""
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


def _is_avoided(piece: Piece) -> bool:
    return piece.pointer.startswith(NON_PREFERRED)


def _set_answer_and_keys(example: Example, pieces: list[Piece]) -> None:
    """Sets the answer and the hashes of a row. Equal JSON has equal hashes, whatever the order of its keys."""
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
