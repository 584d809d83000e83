"""Whatever the rows and the fixes are, each text of the input is in an output, in a dropped row, or counted as unused,
or the refusal names its key.

Every text of a generated row contains a word that occurs once. The fixes that are chosen by name to change words
(`strip_common_prefix`) are left out.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.datasets.fixes import FIXES
from service.datasets.preparation.refusals import PreparationRefused
from tests.datasets.preparation.sources import SAFE, Made, make
from tests.real_files.expected import EXPECTED

ROWS = 4_000
CHOSEN = [name for name in FIXES if name != "strip_common_prefix"]
_TOKEN = re.compile(r"tok\d+x")
_FILES = Path(__file__).parents[2] / "real_files" / "files"
MOVED = (
    "system", "system_prompt", "history", "images", "image_url", "train", "mask", "weight", "tool_call", "tools",
    "function_calls", "from", "author", "text", "value", "parts",
)  # fmt: skip
_SAID = ("content", "text", "value", "parts", "function_call", "tool_call", "function_calls")
NAMES = (
    *MOVED, "id", "source", "metadata", "tags", "lang", "score", "label", "context", "reasoning_content", "thinking",
    "notes", "a/b", "Input Text", "trainOnTurn", "prompt", "completion", "documents",
)  # fmt: skip


class Generator:
    """Rows of every format with keys of other tools at every place, and a word of its own in every text."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._words = 0

    def text(self) -> str:
        self._words += 1
        word = f"tok{self._words}x"
        return self._chance.choice(
            (word, f"A {word}.", f"First\n{word}", f"{word} \x0b end", f" {word}\u200b", "x" * 250 + word)
        )

    def value(self, depth: int = 0) -> Any:
        kinds = (
            "text",
            "text",
            "text",
            "number",
            "flag",
            "null",
            "empty",
            "url",
            *(("list", "pairs", "object") * (depth < 2)),
        )
        match self._chance.choice(kinds):
            case "text":
                return self.text()
            case "number":
                return self._chance.choice((0, 1, 0.5, 17, "0", "1"))
            case "flag":
                return self._chance.choice((True, False, "true"))
            case "null":
                return None
            case "empty":
                return self._chance.choice(("", " ", [], {}))
            case "url":
                self._words += 1
                return f"https://example.com/tok{self._words}x.png"
            case "list":
                return [self.value(depth + 1) for _ in range(self._chance.randint(1, 3))]
            case "pairs":
                return [[self.text(), self.text()]]
            case _:
                keys = ("type", "text", "role", "content", "name", "arguments", "function", "url", "note")
                return {self._chance.choice(keys): self.value(depth + 1) for _ in range(self._chance.randint(1, 3))}

    def others(self, share: float) -> dict[str, Any]:
        if self._chance.random() > share:
            return {}
        return {self._chance.choice(NAMES): self.value() for _ in range(self._chance.randint(1, 3))}

    def message(self, role: str) -> dict[str, Any]:
        content: Any = self.text() if self._chance.random() < 0.85 else self._chance.choice(("", " ", None))
        if self._chance.random() < 0.1:
            content = [{"type": "text", "text": self.text()}, {"type": "text", "text": self.text()}]
        made: dict[str, Any] = {"role": role, "content": content}
        if role == "tool":
            made["tool_call_id"] = "call_1"
        if role == "function":
            made["name"] = self._chance.choice(("f", f"tok{self._words}x"))
        if role == "assistant" and self._chance.random() < 0.15:
            made["function_call"] = {"name": "f", "arguments": json.dumps({"city": self.text()})}
        if self._chance.random() < 0.1:
            made["role"] = self._chance.choice(("human", "gpt", "Assistant", "narrator"))
        return {**made, **self.others(0.2)}

    def messages(self) -> list[Any]:
        roles = [
            self._chance.choice(("user", "assistant", "system", "tool", "function"))
            for _ in range(self._chance.randint(0, 3))
        ]
        return [
            self.message(role) for role in ("user", *roles, self._chance.choice(("assistant", "assistant", "user")))
        ]

    def row(self) -> dict[str, Any]:
        match self._chance.choice(("chat", "chat", "preference", "completion", "reinforcement")):
            case "chat":
                made = {"messages": self.messages(), **self.others(0.5)}
                if self._chance.random() < 0.15:
                    made["functions"] = [{"name": "f", "description": self.text()}]
                if self._chance.random() < 0.1:
                    made["tools"] = [{"type": "function", "function": {"name": "f", "description": self.text()}}]
            case "preference":
                sides = {key: [self.message("assistant")] for key in ("preferred_output", "non_preferred_output")}
                made = {"input": {"messages": [self.message("user")], **self.others(0.3)}, **sides, **self.others(0.4)}
            case "completion":
                made = {**self.others(0.5), "prompt": self.text(), "completion": self.text()}
            case _:
                made = {"messages": [self.message("user")], "reference_answer": self.text(), **self.others(0.5)}
        return made

    def fixes(self) -> list[str]:
        match self._chance.choice(("safe", "safe", "one", "some", "safe and some")):
            case "safe":
                return list(SAFE)
            case "one":
                return [self._chance.choice(CHOSEN)]
            case "some":
                return self._chance.sample(CHOSEN, self._chance.randint(2, 8))
            case _:
                return [*SAFE, *self._chance.sample(CHOSEN, 3)]


def lost(row: dict[str, Any], made: Made) -> list[tuple[str, str]]:
    """The words of a row that are nowhere: each with the pointer at which it was."""
    present = set(_TOKEN.findall((made.training + made.validation).decode()))
    if any(change["action"] == "dropped" for change in made.changes) and not made.rows:
        return []
    assert made.result.input is not None
    unused = made.result.input.unused
    return [
        (word, pointer)
        for pointer, trailing, word in _words(row)
        if word not in present and not _counted(pointer, trailing, unused)
    ]


def _counted(pointer: str, trailing: bool, unused: dict[str, int]) -> bool:
    if trailing and "/messages/*" in unused:
        return True
    return any(pointer == place or pointer.startswith(f"{place}/") for place in unused if place != "/messages/*")


def _words(row: dict[str, Any]) -> Iterator[tuple[str, bool, str]]:
    messages = row.get("messages")
    answers = [at for at, each in enumerate(messages or ()) if isinstance(each, dict) and _is_answer(each)]
    for pointer, index, text in _texts(row, "", None):
        trailing = index is not None and bool(answers) and index > answers[-1]
        for word in _TOKEN.findall(text):
            yield pointer, trailing, word


def _is_answer(message: dict[str, Any]) -> bool:
    said = json.dumps({key: value for key, value in message.items() if key in _SAID})
    return str(message.get("role")).lower() in ("assistant", "gpt") and _TOKEN.search(said) is not None


def _texts(value: Any, pointer: str, index: int | None) -> Iterator[tuple[str, int | None, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}", index)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _texts(inner, f"{pointer}/*", at if pointer == "/messages" else index)
    elif isinstance(value, str):
        yield pointer, index, value


def check(row: dict[str, Any], fixes: list[str]) -> str:
    """Prepare one row: `refused`, or `prepared` with every word accounted for."""
    try:
        made = make(json.dumps(row).encode() + b"\n", filename="data.jsonl", fixes=fixes, shape="none")
    except PreparationRefused as error:
        named = [key for key in _keys(row) if key in error.message]
        assert named or "No example is left" in error.message, (row, fixes, error.message)
        return "refused"
    result = made.result
    dropped = sum(result.rows_dropped.values())
    assert result.rows_in + result.rows_added == result.rows_out + result.rows_joined + dropped
    assert lost(row, made) == [], (row, fixes, made.rows)
    return "prepared"


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)


def test_generated_rows(capsys: pytest.CaptureFixture[str]) -> None:
    generator = Generator(random.Random(14))
    counts = {"refused": 0, "prepared": 0}
    for _ in range(ROWS):
        counts[check(generator.row(), generator.fixes())] += 1
    with capsys.disabled():
        print(f"\n{ROWS:,} rows: {counts['prepared']:,} prepared, {counts['refused']:,} refused; no text is lost")
    assert min(counts.values()) > ROWS // 10


@given(st.integers(0, 2**32))
def test_any_seed(seed: int) -> None:
    generator = Generator(random.Random(seed))
    check(generator.row(), generator.fixes())


def test_every_fix_alone_on_rows_of_every_kind() -> None:
    for number, fix in enumerate(CHOSEN):
        generator = Generator(random.Random(number))
        for _ in range(20):
            check(generator.row(), [fix])


SHAPED = [name for name, expected in EXPECTED.items() if expected.shape and name.endswith(".jsonl")]


@pytest.mark.parametrize("name", SHAPED)
def test_a_key_that_is_added_anywhere_in_a_shape(name: str) -> None:
    rows = [json.loads(line) for line in (_FILES / name).read_text(encoding="utf-8").splitlines()]
    for holder in _objects(rows[0]):
        holder["an_added_key"] = "tok1x, a text.\nIt has two lines."
        try:
            made = make("\n".join(map(json.dumps, rows)).encode(), filename=name)
        except PreparationRefused as error:
            assert "an_added_key" in error.message
        else:
            assert made.result.input is not None
            found = "tok1x" in made.training.decode() or any(
                "an_added_key" in place for place in made.result.input.unused
            )
            dropped = any(change["action"] == "dropped" and change["line"] == 1 for change in made.changes)
            assert found or dropped, holder
        del holder["an_added_key"]


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in list(value.values()):
            yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)
