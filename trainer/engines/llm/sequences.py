"""Turns rows into sequences of tokens with labels: what is learned, and nothing else.

A label is the token itself where it belongs to an answer to learn, else IGNORED. An answer begins behind the prompt as
the model would receive it, and ends with its end-of-turn token.
"""

from collections import deque
from collections.abc import Iterable
from collections.abc import Sequence as Many
from dataclasses import dataclass
from functools import partial

from ...rows import ChatRow, CompletionRow, Conversation, Message, PreferenceRow, Row, is_trained
from .messages import NotRendered
from .rendering import Renderer

IGNORED = -100
"""The label of a token that is read and not learned (PyTorch's `ignore_index`)."""

MAX_PREFIX_MESSAGES = 300_000
"""Messages that are rendered to find the answers of one row: the work grows with the square of a conversation.

Conversations of some 540 turns are within it. The gateway has the same bound.
"""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sequence:
    """Tokens with their labels, both of one length."""

    tokens: list[int]
    labels: list[int]

    @property
    def trained(self) -> int:
        """How many tokens are learned; the first of a sequence is never predicted."""
        return sum(label != IGNORED for label in self.labels[1:])


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row as it is trained: one sequence, or one for each answer; of a preference row the preferred and the rejected.

    `truncated`: at least one was longer than the context, and its end was cut off.
    """

    sequences: tuple[Sequence, ...]
    truncated: bool

    @property
    def tokens(self) -> int:
        """The tokens of one epoch: the lengths of all sequences."""
        return sum(len(sequence.tokens) for sequence in self.sequences)

    @property
    def learns(self) -> bool:
        """Whether anything of the answers is left; of a preference row, of both."""
        return any(sequence.trained for sequence in self.sequences)


class Encoder:
    """Encodes rows for a model whose longest sequence has `context_tokens` tokens."""

    def __init__(self, renderer: Renderer, context_tokens: int) -> None:
        self._renderer = renderer
        self.tokenizer = renderer.tokenizer
        self._context_tokens = context_tokens

    def encode(self, row: Row) -> Encoded:
        """Raises NotRendered for a row that the model's template cannot render."""
        match row:
            case ChatRow(conversation):
                places = [place for place, message in enumerate(conversation.messages) if is_trained(message)]
                return self._cut(self._conversation(conversation, places))
            case CompletionRow(prompt, completion):
                return self._cut([self._completion(prompt, completion)])
            case PreferenceRow(conversation, preferred, rejected):
                return self._cut([self._side(conversation, preferred), self._side(conversation, rejected)])

    def _conversation(self, conversation: Conversation, places: Many[int]) -> Iterable[Sequence]:
        """One sequence where the template renders each answer as it does at the end of a shorter conversation.

        Some templates do not: they leave the reasoning of earlier answers out. Then each answer gets a sequence of its
        own, since a model must see it as it will have to write it.
        """
        if (rendered := sum(place + 1 for place in places)) > MAX_PREFIX_MESSAGES:
            raise NotRendered(
                f"its {len(places):,} answers stand behind {rendered:,} messages in all, of which at most "
                f"{MAX_PREFIX_MESSAGES:,} are rendered; divide the conversation"
            )
        whole = self._renderer.text(conversation, prompt=False)
        spans = []
        for place in places:
            text, span = self._answer(conversation, place)
            if not whole.startswith(text[: span[1]]):
                return (self._sequence(text, [span]) for text, span in map(partial(self._answer, conversation), places))
            spans.append(span)
        return [self._sequence(whole, spans)]

    def _answer(self, conversation: Conversation, place: int) -> tuple[str, Span]:
        """The text up to an answer and including it, and the answer's characters in it."""
        prompt = self._renderer.text(conversation, place, prompt=True)
        text = self._renderer.text(conversation, place + 1, prompt=False)
        start = _shared_length(prompt, text)
        end = self._renderer.turn_end(text)
        if start >= end or (start < len(prompt) and start < self._length(conversation, place)):
            raise NotRendered(f"the model's chat template renders messages[{place}] so that its answer cannot be found")
        return text, (start, end)

    def _length(self, conversation: Conversation, count: int) -> int:
        return len(self._renderer.text(conversation, count, prompt=False).rstrip())

    def _side(self, conversation: Conversation, answer: Many[Message]) -> Sequence:
        messages = (*conversation.messages, *answer)
        places = [at for at in range(len(conversation.messages), len(messages)) if is_trained(messages[at])]
        sequences = list(self._conversation(Conversation(messages, conversation.tools), places))
        if len(sequences) > 1:
            raise NotRendered("the model's chat template cannot render several messages as one answer; leave one each")
        return sequences[0]

    def _completion(self, prompt: str, completion: str) -> Sequence:
        """Both texts in one, and the token that ends a text: no chat template."""
        text, end = prompt + completion, self.tokenizer.eos_token or ""
        text = text if text.endswith(end) else text + end
        return self._sequence(text, [(len(prompt), len(text))], special_tokens=True)

    def _sequence(self, text: str, spans: Many[Span], *, special_tokens: bool = False) -> Sequence:
        """A token that covers any character of an answer is learned. Templates write special tokens themselves."""
        encoded = self.tokenizer(text, add_special_tokens=special_tokens, return_offsets_mapping=True)
        tokens: list[int] = encoded["input_ids"]
        labels, ahead = [], deque(spans)
        for token, (begin, finish) in zip(tokens, encoded["offset_mapping"], strict=True):
            while ahead and begin >= ahead[0][1]:
                ahead.popleft()
            labels.append(token if ahead and finish > ahead[0][0] else IGNORED)
        return Sequence(tokens, labels)

    def _cut(self, sequences: Iterable[Sequence]) -> Encoded:
        limit, truncated = self._context_tokens, False
        cut = []
        for each in sequences:
            truncated |= len(each.tokens) > limit
            cut.append(Sequence(each.tokens[:limit], each.labels[:limit]))
        return Encoded(tuple(cut), truncated)


def _shared_length(first: str, second: str) -> int:
    """The length of the beginning that two texts share; by halves, since texts are compared fast and characters not."""
    shared, end = 0, min(len(first), len(second))
    while shared < end:
        middle = (shared + end + 1) // 2
        if first[shared:middle] == second[shared:middle]:
            shared = middle
        else:
            end = middle - 1
    return shared
