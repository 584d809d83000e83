"""Makes examples of table rows: finds the columns of question and answer, and fills in the prompt template.

Columns are guessed by their names (`column_words`). The placeholders of a template are names of columns and
nothing else: attributes, indexes and formats of Python's own formatting are not evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from service.datasets.preparation.column_words import (
    CONTEXT_WORDS,
    INSTRUCTION_WORDS,
    PASSAGE_WORDS,
    Part,
    column_for,
    plain_name,
    plain_names,
)
from service.datasets.preparation.options import Columns, Target
from service.datasets.preparation.refusals import PreparationRefused

_POSITIONS = ["column_1", "column_2"]
"""The columns of a table of two without a header: a question and its answer."""

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_SHOWN_COLUMNS = 20


class EmptyCell(Exception):
    """A row has no text where an example needs one; the message names the column."""


class NonTextCell(Exception):
    """A cell contains a list or an object, which cannot be a text; the message names the column."""


class Template:
    """A prompt with `{column}` placeholders; `{{` and `}}` are braces. A lone brace raises `PreparationRefused`."""

    def __init__(self, text: str) -> None:
        self._parts: list[tuple[str, str | None]] = []
        at = 0
        for found in _PLACEHOLDER.finditer(text):
            literal, token, name = text[at : found.start()], found.group(), found.group(1)
            if token in ("{", "}"):
                raise PreparationRefused(
                    f"The template has a lone {token!r} at character {found.start() + 1}; write it twice.",
                    code="invalid_value",
                    param="prompt_template",
                )
            self._parts.append((literal + (token[0] if name is None else ""), name))
            at = found.end()
        self._parts.append((text[at:], None))

    @property
    def names(self) -> list[str]:
        """The columns that have a placeholder."""
        return [name for _, name in self._parts if name is not None]

    def filled(self, row: dict[str, Any]) -> str:
        """The template with the texts of a row."""
        return "".join(text + (_cell(row, name) if name is not None else "") for text, name in self._parts)


def check_template(text: str | None) -> None:
    """Raises `PreparationRefused` for a template that cannot be parsed."""
    if text is not None:
        Template(text)


def guess_template(names: Sequence[str]) -> str | None:
    """The template for columns of an instruction and its input (as in the Alpaca data), or of a text and a question
    about it (as in SQuAD); None for other columns."""
    by_name = plain_names(names)
    instruction = next((by_name[word] for word in INSTRUCTION_WORDS if word in by_name), None)
    context = next((by_name[word] for word in CONTEXT_WORDS if word in by_name), None)
    parts = [instruction, context]
    if instruction is None:
        parts = [next((by_name[word] for word in PASSAGE_WORDS if word in by_name), None), by_name.get("question")]
    if None in parts or set("{}") & set("".join(map(str, parts))):
        return None
    return "\n\n".join(f"{{{part}}}" for part in parts)


def guess_columns(names: Sequence[str], given: Columns, template: Template | None) -> tuple[Columns, list[str]]:
    """The columns to use, and which of them were guessed. Raises `PreparationRefused` if no name is known.

    A column with a placeholder in the template is not guessed for another part. A template replaces the prompt column.
    """
    given = _as_written(given, names)
    for param, name in (("prompt", given.prompt), ("answer", given.answer), ("system", given.system)):
        if name is not None and name not in names:
            raise PreparationRefused(
                f"There is no column `{name[:64]}`; the file has {list_names(names)}.",
                code="unknown_column",
                param=f"columns.{param}",
            )
    unknown = [name for name in template.names if name not in names] if template is not None else []
    if unknown:
        raise PreparationRefused(
            f"The template contains {{{unknown[0][:64]}}}, which is no column; the file has {list_names(names)}.",
            code="unknown_column",
            param="prompt_template",
        )
    taken = {name for name in (given.prompt, given.answer, given.system) if name is not None}
    taken |= set(template.names) if template is not None else set()
    prompt = given.prompt if template is not None else given.prompt or _guess_column("prompt", names, taken)
    answer = given.answer or _guess_column("answer", names, taken | {prompt or ""})
    system = given.system or _guess_column("system", names, taken | {prompt or "", answer or ""})
    if answer is None and len(names) == 1 and names[0] not in taken:
        answer, prompt = names[0], None
    if answer is None or (prompt is None and template is None and len(names) > 1):
        missing = "answer" if answer is None else "prompt"
        raise PreparationRefused(
            f"No column's name says that it holds the {missing}; the file has {list_names(names)}. Name "
            "prompt and answer in the option `columns`, or give the option `prompt_template`.",
            code="columns_not_guessed",
            param="columns",
        )
    found = Columns(prompt=prompt, answer=answer, system=system)
    guessed = [
        part
        for part, one, other in (
            ("prompt", prompt, given.prompt),
            ("answer", answer, given.answer),
            ("system", system, given.system),
        )
        if one is not None and other is None
    ]
    return found, guessed


def example_maker(
    columns: Columns, *, target: Target, template: Template | None
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function that makes an example of a row of cells.

    It raises `EmptyCell` for a row without an answer or a question, and `NonTextCell` for one whose cells are lists or
    objects. A chat example's question must not be empty; a completion's prompt may be (open-ended generation).
    """

    def make(row: dict[str, Any]) -> dict[str, Any]:
        answer = _cell(row, columns.answer or "").strip()
        if not answer:
            raise EmptyCell(f"column `{columns.answer}` is empty")
        if template is not None:
            prompt = template.filled(row)
        else:
            prompt = _cell(row, columns.prompt or "").strip() if columns.prompt is not None else ""
        if target == "completion":
            return {"prompt": prompt, "completion": answer}
        prompt = prompt.strip()
        if not prompt:
            place = "the template" if template is not None else f"column `{columns.prompt}`"
            raise EmptyCell(f"{place} is empty")
        system = _cell(row, columns.system).strip() if columns.system is not None else ""
        texts = (("system", system), ("user", prompt), ("assistant", answer))
        return {"messages": [{"role": role, "content": text} for role, text in texts if text]}

    return make


def _as_written(given: Columns, names: Sequence[str]) -> Columns:
    """The requested columns as the file writes them: case, spaces and punctuation do not matter if one column fits."""

    def written(name: str | None) -> str | None:
        if name is None or name in names:
            return name
        fitting = [each for each in names if plain_name(each) == plain_name(name)]
        return fitting[0] if len(fitting) == 1 else name

    return Columns(prompt=written(given.prompt), answer=written(given.answer), system=written(given.system))


def _guess_column(part: Part, names: Sequence[str], taken: set[str]) -> str | None:
    if list(names) == _POSITIONS and part != "system":
        return next(
            (name for name in (_POSITIONS if part == "prompt" else _POSITIONS[::-1]) if name not in taken), None
        )
    return column_for(part, [name for name in names if name not in taken])


def _cell(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case int() | float():
            return str(value)
        case _:
            kind = "a list" if isinstance(value, list) else "an object"
            raise NonTextCell(f"column `{name}` holds {kind} where a text is needed")


def list_names(names: Sequence[str]) -> str:
    """The names of columns for a message: the first twenty, in backquotes."""
    if not names:
        return "no columns"
    shown = ", ".join(f"`{name[:64]}`" for name in names[:_SHOWN_COLUMNS])
    return shown + (f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else "")


def with_system(row: dict[str, Any], system_prompt: str) -> dict[str, Any]:
    """A chat row, or a preference row's input, that begins with the system prompt, unless it has a system (or
    developer) message or no messages."""
    if isinstance(row.get("input"), dict) and "messages" not in row:
        return {**row, "input": with_system(row["input"], system_prompt)}
    messages = row.get("messages")
    if not isinstance(messages, list):
        return row
    roles = [message.get("role") for message in messages if isinstance(message, dict)]
    if "system" in roles or "developer" in roles:
        return row
    return {**row, "messages": [{"role": "system", "content": system_prompt}, *messages]}


def column_names(rows: Sequence[tuple[int, dict[str, Any]]]) -> list[str]:
    """Every key of the rows, in the order of its first appearance."""
    return list({key: None for _, row in rows for key in row})


def prompt_of(example: dict[str, Any]) -> Any:
    """The prompt that a template filled in: that of a completion, or the user's message of a chat example."""
    if "messages" not in example:
        return example.get("prompt")
    return next((each.get("content") for each in example["messages"] if each.get("role") == "user"), None)
