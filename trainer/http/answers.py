"""From a model's bytes to text: whole characters, stop sequences, and a limit that the token count keeps to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..engines.steps import Message, Model, Sampling
from ..tokens import count_tokens

_PIECE = 4
"""Characters that are streamed together, about a token."""


@dataclass(slots=True)
class Answer:
    """An answer as it is made: iterate `pieces`, then read the rest."""

    model: Model
    context: Sequence[Message]
    sampling: Sampling
    max_tokens: int | None
    stop: Sequence[str] = ()
    text: str = field(default="", init=False)
    finish_reason: str = field(default="length", init=False)

    def pieces(self) -> Iterator[str]:
        """Yield text that is final; what might be the beginning of a stop sequence is held back."""
        given = 0
        for _ in self._characters():
            ends = [at for s in self.stop if (at := self.text.find(s)) >= 0]
            if ends:
                self.text, self.finish_reason = self.text[: min(ends)], "stop"
                break
            final = len(self.text) - self._undecided()
            if final >= given + _PIECE:
                yield self.text[given:final]
                given = final
        if len(self.text) > given:
            yield self.text[given:]

    def _characters(self) -> Iterator[None]:
        """Add one character at a time to `text`, as long as the limit allows."""
        pending = bytearray()
        for piece in self.model.generate(self.context, self.sampling):
            pending += piece
            try:
                character = pending.decode()
            except UnicodeDecodeError as error:
                if error.reason == "unexpected end of data":
                    continue
                character = pending.decode("utf-8", "replace")
            pending.clear()
            if self.max_tokens is not None and self._too_long(character):
                return
            self.text += character
            yield
        if len(self.text.encode()) < self.sampling.max_bytes:
            self.finish_reason = "stop"

    def _too_long(self, character: str) -> bool:
        longer = self.text + character
        return len(longer.encode()) > (self.max_tokens or 0) and count_tokens(longer) > (self.max_tokens or 0)

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
