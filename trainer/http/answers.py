"""From a model's bytes to text: whole characters, stop sequences, and the reason of the end."""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..engines.port import Model, Sampling
from ..rows import Conversation

_PIECE = 4
"""Characters that are streamed together, about a token."""


@dataclass(slots=True)
class Answer:
    """An answer as it is made: iterate `pieces`, then read the rest."""

    model: Model
    prompt: Conversation | str
    sampling: Sampling
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
        """Add whole characters to `text`."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for piece in self.model.generate(self.prompt, self.sampling):
            added = decoder.decode(piece.text, final=piece.finish is not None)
            self.finish_reason = piece.finish or self.finish_reason
            if added:
                self.text += added
                yield

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
