"""The sequences that a row of a dataset becomes when an open model is trained on it, and their lengths.

Source: the trainer's `engines/llm/sequences.py`; a test compares the two. Sequences are not cut at the context here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from service.catalogue.open_models.chat_templates import NotRendered
from service.catalogue.open_models.files import MAX_PREFIX_MESSAGES
from service.catalogue.open_models.normalizing import NotAMessage, normalized_messages, normalized_tools
from service.catalogue.open_models.tokenizer import Counted, OpenTokenizer, Span

Messages = Sequence[Mapping[str, Any]]
_SIDES = ("preferred_output", "non_preferred_output")


class Sequences(NamedTuple):
    """The lengths of a row's sequences, how many of their tokens are learned, and a function that counts the tokens
    before the first trained answer."""

    lengths: tuple[int, ...]
    trained: int
    answer_start: Callable[[], int]


def sequences_of(row: Mapping[str, Any], tokenizer: OpenTokenizer) -> Sequences:
    """The sequences of a row of any format: of a preference row both sides, else one, or one for each answer.

    Raises `NotRendered`, also where an answer cannot be found in the text, and `NotAMessage` for a row that no template
    could render.
    """
    if "input" in row or "preferred_output" in row:
        return _preference(row, tokenizer)
    if "messages" not in row:
        return _completion(row, tokenizer)
    messages, tools = normalized_messages(row["messages"]), normalized_tools(row)
    if not messages:
        raise NotAMessage("it has no messages")
    answers = [at for at, message in enumerate(messages) if _is_trained(row["messages"][at], message)]
    render = tokenizer.rendering.text
    if messages[-1]["role"] != "assistant" and not answers:
        return Sequences((tokenizer.count(render(messages, tools, prompt=True)),), 0, lambda: 0)

    def answer_start() -> int:
        first = answers[0] if answers else len(messages)
        return tokenizer.count(render(messages[:first], tools, prompt=True)) if first else 0

    counts = _chat(messages, tools, answers, tokenizer)
    return Sequences(tuple([each.length for each in counts]), sum([each.trained for each in counts]), answer_start)


def _chat(messages: Messages, tools: Messages, answers: Sequence[int], tokenizer: OpenTokenizer) -> list[Counted]:
    """One sequence where the template renders each answer as it does at the end of a shorter conversation, else each.

    Some templates leave the reasoning of earlier answers out, which a model must see as it will have to write it.
    """
    if (rendered := sum(at + 1 for at in answers)) > MAX_PREFIX_MESSAGES:
        raise NotRendered(
            f"its {len(answers):,} answers stand behind {rendered:,} messages in all, of which at most "
            f"{MAX_PREFIX_MESSAGES:,} are rendered; divide the conversation"
        )
    whole = tokenizer.rendering.text(messages, tools)

    def answer(at: int) -> tuple[str, Span]:
        return _answer(messages, tools, at, whole, tokenizer)

    spans: list[Span] = []
    for at in answers:
        text, span = answer(at)
        if text is not whole and not whole.startswith(text[: span[1]]):
            return [tokenizer.count_trained(text, [span]) for text, span in map(answer, answers)]
        spans.append(span)
    return [tokenizer.count_trained(whole, spans)]


def _answer(messages: Messages, tools: Messages, at: int, whole: str, tokenizer: OpenTokenizer) -> tuple[str, Span]:
    """The text up to an answer and including it, and the answer's characters in it."""
    render = tokenizer.rendering.text
    prompt = render(messages[:at], tools, prompt=True)
    text = whole if at == len(messages) - 1 else render(messages[: at + 1], tools)
    start, end = _shared_length(prompt, text), tokenizer.turn_end(text)
    if start >= end or (start < len(prompt) and start < len(render(messages[:at], tools).rstrip())):
        raise NotRendered(f"it renders messages[{at}] so that its answer cannot be found")
    return text, (start, end)


def _preference(row: Mapping[str, Any], tokenizer: OpenTokenizer) -> Sequences:
    prompt = row.get("input")
    if not isinstance(prompt, Mapping):
        raise NotAMessage("its input is not an object")
    messages, tools = normalized_messages(prompt.get("messages")), normalized_tools(prompt)
    sides = [normalized_messages(row.get(key)) for key in _SIDES]
    if not messages or not all(sides):
        raise NotAMessage("a list of messages is empty")
    counts = [_side(messages, tools, row[key], side, tokenizer) for key, side in zip(_SIDES, sides, strict=True)]
    return Sequences(
        tuple([each.length for each in counts]),
        sum([each.trained for each in counts]),
        lambda: tokenizer.count(tokenizer.rendering.text(messages, tools, prompt=True)),
    )


def _side(messages: Messages, tools: Messages, given: Messages, side: Messages, tokenizer: OpenTokenizer) -> Counted:
    answers = [len(messages) + at for at, message in enumerate(side) if _is_trained(given[at], message)]
    counts = _chat([*messages, *side], tools, answers, tokenizer)
    if len(counts) > 1:
        raise NotRendered("it cannot render several messages as one answer; leave one each")
    return counts[0]


def _completion(row: Mapping[str, Any], tokenizer: OpenTokenizer) -> Sequences:
    prompt, completion = row.get("prompt"), row.get("completion")
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise NotAMessage("its prompt or completion is not a text")
    counted = tokenizer.count_completion(prompt, completion)
    return Sequences((counted.length,), counted.trained, lambda: tokenizer.count(prompt))


def _is_trained(given: Mapping[str, Any], message: Mapping[str, Any]) -> bool:
    """Whether a message, as given and normalised, is an answer to learn: not an empty one, nor of weight 0."""
    is_empty = not message["content"] and "tool_calls" not in message
    return message["role"] == "assistant" and given.get("weight") != 0 and not is_empty


def _shared_length(first: str, second: str) -> int:
    """The length of the beginning that two texts share; by halves, since texts are compared fast and characters not."""
    if second.startswith(first):
        return len(first)
    shared, end = 0, min(len(first), len(second))
    while shared < end:
        middle = (shared + end + 1) // 2
        if first[shared:middle] == second[shared:middle]:
            shared = middle
        else:
            end = middle - 1
    return shared
