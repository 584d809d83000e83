"""The sequences that a row of a dataset becomes when an open model is trained on it, and their lengths.

Source: the trainer's `engines/llm/sequences.py`; a test compares the two. Sequences are not cut at the context here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from service.catalogue.open_models.chat_templates import NotRendered
from service.catalogue.open_models.files import MAX_PREFIX_MESSAGES
from service.catalogue.open_models.normalizing import NotAMessage, normalized_messages, normalized_tools
from service.catalogue.open_models.tokenizer import OpenTokenizer

Messages = Sequence[Mapping[str, Any]]


class Sequences(NamedTuple):
    """The lengths of a row's sequences, and a function that counts the tokens before the first trained answer."""

    lengths: tuple[int, ...]
    answer_start: Callable[[], int]


def sequences_of(row: Mapping[str, Any], tokenizer: OpenTokenizer) -> Sequences:
    """The sequences of a row of any format: of a preference row both sides, else one, or one for each answer.

    Raises `NotRendered`, and `NotAMessage` for a row that no template could render.
    """
    if "input" in row or "preferred_output" in row:
        return _preference(row, tokenizer)
    if "messages" not in row:
        return _completion(row, tokenizer)
    messages, tools = normalized_messages(row["messages"]), normalized_tools(row)
    if not messages:
        raise NotAMessage("it has no messages")
    answers = [at for at, message in enumerate(row["messages"]) if _is_trained(message)]
    if messages[-1]["role"] != "assistant" and not answers:
        return Sequences((tokenizer.count(tokenizer.rendering.text(messages, tools, prompt=True)),), lambda: 0)
    return _chat(messages, tools, answers, tokenizer)


def _chat(messages: Messages, tools: Messages, answers: Sequence[int], tokenizer: OpenTokenizer) -> Sequences:
    """One sequence where the template renders each answer as it does at the end of a shorter conversation, else each.

    Some templates leave the reasoning of earlier answers out, which a model must see as it will have to write it.
    """
    if (rendered := sum(at + 1 for at in answers)) > MAX_PREFIX_MESSAGES:
        raise NotRendered(
            f"its {len(answers):,} answers stand behind {rendered:,} messages in all, of which at most "
            f"{MAX_PREFIX_MESSAGES:,} are rendered; divide the conversation"
        )
    render = tokenizer.rendering.text
    whole = render(messages, tools)

    def texts() -> Iterator[str]:  # not all at once: together they grow with the square of the conversation
        return (whole if at == len(messages) - 1 else render(messages[: at + 1], tools) for at in answers)

    as_one = all(text is whole or whole.startswith(text[: tokenizer.turn_end(text)]) for text in texts())

    def answer_start() -> int:
        first = answers[0] if answers else len(messages)
        return tokenizer.count(render(messages[:first], tools, prompt=True)) if first else 0

    return Sequences(tuple(map(tokenizer.count, [whole] if as_one else texts())), answer_start)


def _preference(row: Mapping[str, Any], tokenizer: OpenTokenizer) -> Sequences:
    prompt = row.get("input")
    if not isinstance(prompt, Mapping):
        raise NotAMessage("its input is not an object")
    messages, tools = normalized_messages(prompt.get("messages")), normalized_tools(prompt)
    sides = [normalized_messages(row.get(key)) for key in ("preferred_output", "non_preferred_output")]
    if not messages or not all(sides):
        raise NotAMessage("a list of messages is empty")
    render = tokenizer.rendering.text
    return Sequences(
        tuple([tokenizer.count(render([*messages, *side], tools)) for side in sides]),
        lambda: tokenizer.count(render(messages, tools, prompt=True)),
    )


def _completion(row: Mapping[str, Any], tokenizer: OpenTokenizer) -> Sequences:
    prompt, completion = row.get("prompt"), row.get("completion")
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise NotAMessage("its prompt or completion is not a text")
    return Sequences((tokenizer.completion_tokens(prompt, completion),), lambda: tokenizer.count(prompt))


def _is_trained(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "assistant" and message.get("weight") != 0
