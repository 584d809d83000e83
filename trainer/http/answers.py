"""From a model's bytes to text: whole characters, stop sequences, calls of tools, and the reason of the end."""

import codecs
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..engines.port import Model, Piece, Sampling, TokenLogprob
from ..rows import Conversation


class HungUp(Exception):
    """The caller no longer waits for the answer."""


@dataclass(frozen=True, slots=True)
class Token:
    """A generated token and where its text begins in the answer, in characters."""

    logprob: TokenLogprob
    start: int


@dataclass(slots=True)
class Answer:
    """One answer: iterate `pieces`, which begins to generate, then read the rest.

    `parses_calls` says whether calls of tools are looked for in the text.
    """

    model: Model
    prompt: Conversation | str
    sampling: Sampling
    stop: Sequence[str]
    parses_calls: bool
    hung_up: Callable[[], bool]
    text: str = field(default="", init=False)
    tokens: list[Token] = field(default_factory=list, init=False)
    finish_reason: str = field(default="length", init=False)
    _generated: int = field(default=0, init=False)

    @property
    def completion_tokens(self) -> int:
        """The number of generated tokens, or of those of the text where the model does not count them."""
        return self._generated or self.model.count(self.text)

    def pieces(self) -> Iterator[str]:
        """Yield text that is final content; what may be a stop sequence or a call is held back to the end.

        So `text` may be longer than what was yielded. Raises HungUp.
        """
        given = 0
        for _ in self._texts():
            ends = [at for s in self.stop if (at := self.text.find(s)) >= 0]
            if ends:
                self._cut(min(ends))
                break
            final = min(len(self.text) - self._undecided(), self._calls_begin())
            if final > given:
                yield self.text[given:final]
                given = final
        final = self._calls_begin()
        if final > given:
            yield self.text[given:final]

    def calls(self) -> tuple[str | None, list[dict[str, Any]]]:
        """The content and the calls of a whole answer to a conversation."""
        if not self.parses_calls or isinstance(self.prompt, str):
            return self.text, []
        return self.model.tool_calls(self.prompt, self.text)

    def _texts(self) -> Iterator[None]:
        """Add to `text` what each piece makes final."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for piece in self._generate():
            self.tokens += [Token(token, len(self.text)) for token in piece.tokens]
            self._generated += piece.generated
            self.finish_reason = piece.finish or self.finish_reason
            added = decoder.decode(piece.text, final=piece.finish is not None)
            if added:
                self.text += added
                yield

    def _generate(self) -> Iterator[Piece]:
        for piece in self.model.generate(self.prompt, self.sampling):
            if self.hung_up():
                raise HungUp
            yield piece

    def _cut(self, end: int) -> None:
        self.text, self.finish_reason = self.text[:end], "stop"
        self.tokens = [token for token in self.tokens if token.start < end]

    def _calls_begin(self) -> int:
        if not self.parses_calls or isinstance(self.prompt, str):
            return len(self.text)
        return self.model.calls_begin(self.prompt, self.text)

    def _undecided(self) -> int:
        """How many characters at the end may yet turn out to be a stop sequence."""
        longest = max((len(s) for s in self.stop), default=1) - 1
        return next(
            (
                n
                for n in range(min(longest, len(self.text)), 0, -1)
                if any(s.startswith(self.text[-n:]) for s in self.stop)
            ),
            0,
        )
